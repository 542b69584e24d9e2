// What processors with AVX-512 VNNI offer. Compiled for any processor, since it asks which one
// this is.
#if defined(__x86_64__) || defined(_M_X64)

#include "kernels/avx512.hpp"

#include <cstring>

namespace spk {
namespace {

// Whether the system keeps the wide registers is part of each answer.
bool has_vnni() {
#if defined(SPK_EMULATE_AVX512)
    return true;
#else
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
#endif
}

InstructionSet describe() {
    InstructionSet set = avx2_set();
    set.name = "avx512";
    set.is_here = [] { return avx2_set().is_here() && has_vnni(); };
    for (SynapseForm& form : set.synapses) {
        if (std::strcmp(form.name, "dense") == 0) {
            form = {"dense", avx512::make_dense, avx512::cost_of_dense};
        }
    }
    return set;
}

}  // namespace

const InstructionSet& avx512_set() {
    static const InstructionSet set = describe();
    return set;
}

}  // namespace spk

#endif
