// SPDX-License-Identifier: MIT
// What a fibre has beside its stack, and how one gives the CPU to another. swapcontext asks the operating
// system for the signal mask each time, which took most of the tests' time; so on x86-64 the registers that a
// call keeps are saved by hand.
#pragma once
#include <cstddef>
#include <cstdint>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace cuda_on_cpu {

#if defined(__x86_64__)

struct Context {
  void* stack_pointer = nullptr;
};

// Pushes what a call keeps, leaves the place in *from, and goes on where `to` was left.
[[gnu::naked, gnu::noinline, gnu::no_sanitize("address", "undefined", "thread")]] inline void SwitchStacks(
    void** /*from*/, void* /*to*/) {
  asm("pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
      "movq %rsp, (%rdi)\n movq %rsi, %rsp\n"
      "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret");
}

inline void Switch(Context& from, const Context& to) { SwitchStacks(&from.stack_pointer, to.stack_pointer); }

// `enter` begins at the next switch, and must not return.
inline void Prepare(Context& context, char* stack, size_t size, void (*enter)()) {
  // From the end, which is a multiple of 16: no return address, `enter`, six registers. A function finds its
  // stack 8 below a multiple of 16.
  auto* end = reinterpret_cast<void**>((reinterpret_cast<uintptr_t>(stack) + size) & ~uintptr_t{15});
  for (int i = 1; i <= 8; ++i) end[-i] = nullptr;
  end[-2] = reinterpret_cast<void*>(enter);
  context.stack_pointer = end - 8;
}

#else

struct Context {
  ucontext_t state;
};

inline void Switch(Context& from, const Context& to) { swapcontext(&from.state, &to.state); }

inline void Prepare(Context& context, char* stack, size_t size, void (*enter)()) {
  getcontext(&context.state);
  context.state.uc_stack.ss_sp = stack;
  context.state.uc_stack.ss_size = size;
  context.state.uc_link = nullptr;
  makecontext(&context.state, enter, 0);
}

#endif

}  // namespace cuda_on_cpu
