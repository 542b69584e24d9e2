// What processors with AVX2 offer.
#include "kernels/avx2.hpp"
#include "kernels/avx2_epilogue.hpp"

namespace spk {
namespace {

// Rows and columns of the output's pixels, where counts are written; else one row.
Place first_place(const Epilogue& epilogue, int64_t begin, const CountMap*& map) {
    for (const Stage& stage : epilogue.stages) {
        if (!stage.neurons.empty()) map = &stage.neurons.front().to;
    }
    return map ? place_of(begin, map->height, map->width) : Place{begin, 0, 0, 0};
}

void finish(
    const int32_t* sums, int32_t stride, const Epilogue& epilogue, int64_t begin, int64_t end) {
    avx2::Finisher finisher(epilogue);
    const CountMap* map = nullptr;
    Place place = first_place(epilogue, begin, map);
    while (place.index < end) {
        for (int32_t channel = 0; channel < epilogue.channels; channel += kCurrentLanes) {
            __m256i loaded[1][2] = {
                {avx2::load(sums + channel), avx2::load(sums + channel + 8)}};
            finisher.finish<1>(&place, channel, loaded);
        }
        sums += stride;
        map ? advance(place, map->height, map->width) : void(++place.index);
    }
}

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
        forms, avx2::make_attention, finish};
}

}  // namespace

const InstructionSet& avx2_set() {
    static const InstructionSet set = describe();
    return set;
}

}  // namespace spk
