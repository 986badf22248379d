// SPDX-License-Identifier: MIT
// The attributes of an op as TensorFlow holds them, for its kernels on devices and for those of its XLA.
#pragma once
#include <string>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "bindings/op.h"
#include "tensorflow/core/platform/errors.h"

namespace tensorflow::fslcore_bindings {

template <class T>
inline constexpr bool kIsVector = false;
template <class T>
inline constexpr bool kIsVector<std::vector<T>> = true;

// Not an error if the message is empty.
inline absl::Status Invalid(const std::string& problem) {
  return problem.empty() ? absl::OkStatus() : absl::InvalidArgumentError(problem);
}

// Reads them from the construction of a kernel, or from the context of a shape function.
template <class Context>
class AttributeReader {
 public:
  explicit AttributeReader(Context* context) : context_(context) {}

  template <class T, class... Allowed>
  void operator()(fslcore::bindings::Key key, T& value, const Allowed&...) {
    if (status_.ok()) status_ = Read(key.name, value);
  }
  const absl::Status& status() const { return status_; }

 private:
  template <class T>
  absl::Status Read(const char* name, T& value) {
    if constexpr (std::is_enum_v<T>) {
      std::string text;
      TF_RETURN_IF_ERROR(context_->GetAttr(name, &text));
      return Invalid(fslcore::bindings::ReadName(name, text, &value));
    } else if constexpr (kIsVector<T>) {
      return ReadAll(name, value);
    } else {
      return context_->GetAttr(name, &value);
    }
  }

  template <class T>
  absl::Status ReadAll(const char* name, std::vector<T>& values) {
    if constexpr (std::is_enum_v<T>) {
      std::vector<std::string> texts;
      TF_RETURN_IF_ERROR(context_->GetAttr(name, &texts));
      values.resize(texts.size());
      for (size_t i = 0; i < texts.size(); ++i)
        TF_RETURN_IF_ERROR(Invalid(fslcore::bindings::ReadName(name, texts[i], &values[i])));
      return absl::OkStatus();
    } else {
      return context_->GetAttr(name, &values);
    }
  }

  Context* context_;
  absl::Status status_;
};

template <class Attributes, class Context>
absl::Status ReadAttributes(Context* context, Attributes* attributes) {
  AttributeReader<Context> reader(context);
  attributes->Visit(reader);
  return reader.status();
}

}  // namespace tensorflow::fslcore_bindings
