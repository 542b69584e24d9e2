// A register of sixteen integers. Functions here are compiled anew in each file, since a linker
// could take those of a file for AVX-512 for a processor without.
#pragma once

#include <cstdint>

namespace spk::avx512 {
namespace {

using Lanes = int32_t __attribute__((vector_size(64), may_alias));

inline Lanes load(const void* from) { return *static_cast<const Lanes*>(from); }

inline void store(int32_t* to, Lanes lanes) { *reinterpret_cast<Lanes*>(to) = lanes; }

}  // namespace
}  // namespace spk::avx512
