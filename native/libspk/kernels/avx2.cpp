// What processors with AVX2 offer. Compiled for any processor, since it asks which one this is.
#if defined(__x86_64__) || defined(_M_X64)

#include "kernels/avx2.hpp"

namespace spk {
namespace {

InstructionSet describe() {
    const InstructionSet& generic = generic_set();
    std::vector<SynapseForm> forms = {
        {"dense", avx2::make_dense, avx2::cost_of_dense},
        {"sparse", avx2::make_sparse, avx2::cost_of_sparse},
        {"winograd", avx2::make_winograd, avx2::cost_of_winograd},
        {"depthwise", avx2::make_depthwise, avx2::cost_of_depthwise}};
    forms.insert(forms.end(), generic.synapses.begin(), generic.synapses.end());
    return {
        "avx2",
        [] {
            return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                   __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
        },
        forms, avx2::make_attention, avx2::finish};
}

}  // namespace

const InstructionSet& avx2_set() {
    static const InstructionSet set = describe();
    return set;
}

}  // namespace spk

#endif
