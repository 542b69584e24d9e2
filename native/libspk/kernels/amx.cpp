// What processors with AMX offer. Compiled for any processor, since it asks which one this is.
#if defined(__x86_64__) || defined(_M_X64)

#include "kernels/amx.hpp"

#if defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace spk {
namespace {

// A program must ask Linux for the memory that holds a thread's tiles; elsewhere nobody has it.
bool has_tiles() {
#if defined(SPK_EMULATE_AMX)
    return true;
#elif defined(__linux__) && !defined(SPK_NO_AMX)
    constexpr unsigned kTiles = 1u << 24, kBytes = 1u << 25;
    constexpr long kAskForState = 0x1023, kTileData = 18;
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    if (!(d & kTiles) || !(d & kBytes)) return false;
    return syscall(SYS_arch_prctl, kAskForState, kTileData) == 0;
#else
    return false;
#endif
}

InstructionSet describe() {
    InstructionSet set = avx512_set();
    set.name = "amx";
    set.is_here = [] {
        static const bool here = avx512_set().is_here() && has_tiles();
        return here;
    };
    set.synapses.insert(set.synapses.begin(), {"tiles", amx::make_tiles, amx::cost_of_tiles});
    return set;
}

}  // namespace

const InstructionSet& amx_set() {
    static const InstructionSet set = describe();
    return set;
}

}  // namespace spk

#endif
