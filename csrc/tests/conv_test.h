// SPDX-License-Identifier: MIT
#pragma once

namespace fslcore {

// Every kernel of core/conv_block.h, at the active instruction set.
void TestConvolutions();
void TestFits();

}  // namespace fslcore
