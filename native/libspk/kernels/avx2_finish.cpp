// The epilogue of sums that lie in memory.
#include "kernels/avx2.hpp"
#include "kernels/avx2_epilogue.hpp"

namespace spk::avx2 {
namespace {

// Rows and columns of the output's pixels, where counts are written; else one row.
Place first_place(const Epilogue& epilogue, int64_t begin, const CountMap*& map) {
    for (const Stage& stage : epilogue.stages) {
        if (!stage.neurons.empty()) map = &stage.neurons.front().to;
    }
    return map ? place_of(begin, map->height, map->width) : Place{begin, 0, 0, 0};
}

}  // namespace

void finish(
    const int32_t* sums, int32_t stride, const Epilogue& epilogue, int64_t begin, int64_t end) {
    Finisher finisher(epilogue);
    const CountMap* map = nullptr;
    Place place = first_place(epilogue, begin, map);
    while (place.index < end) {
        for (int32_t channel = 0; channel < epilogue.channels; channel += kCurrentLanes) {
            __m256i loaded[1][2] = {
                {load(sums + channel), load(sums + channel + 8)}};
            finisher.finish<1>(&place, channel, loaded);
        }
        sums += stride;
        map ? advance(place, map->height, map->width) : void(++place.index);
    }
}

}  // namespace spk::avx2
