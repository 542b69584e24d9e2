// SHA-256 with the SHA extensions of x86: two rounds an instruction.
#include "file/sha256.hpp"
#include "file/sha256_constants.hpp"

#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)

#include <cpuid.h>
#include <immintrin.h>

namespace spk {

bool has_sha_instructions() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return false;
    const bool shuffles = (c & bit_SSSE3) && (c & bit_SSE4_1);
    return shuffles && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 29));
}

__attribute__((target("sha,sse4.1,ssse3"))) void sha256_blocks_by_instructions(
    uint32_t* state, const uint8_t* bytes, size_t blocks) {
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    const auto* constants = reinterpret_cast<const __m128i*>(kSha256Constants);
    auto* words = reinterpret_cast<__m128i*>(state);
    // The instructions want the words as ABEF and CDGH, highest first.
    const __m128i badc = _mm_shuffle_epi32(_mm_loadu_si128(words), 0xb1);
    const __m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128(words + 1), 0x1b);
    __m128i abef = _mm_alignr_epi8(badc, hgfe, 8);
    __m128i cdgh = _mm_blend_epi16(hgfe, badc, 0xf0);
    for (; blocks > 0; --blocks, bytes += 64) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        const auto* block = reinterpret_cast<const __m128i*>(bytes);
        __m128i w[4];
        for (int i = 0; i < 4; ++i)
            w[i] = _mm_shuffle_epi8(_mm_loadu_si128(block + i), big_endian);
        for (int i = 0; i < 16; ++i) {
            const __m128i now = w[i % 4];
            const __m128i sum = _mm_add_epi32(now, _mm_load_si128(constants + i));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
            if (i >= 12) continue;
            const __m128i before = w[(i + 3) % 4];
            const __m128i seven_ago = _mm_alignr_epi8(before, w[(i + 2) % 4], 4);
            const __m128i part = _mm_sha256msg1_epu32(now, w[(i + 1) % 4]);
            w[i % 4] = _mm_sha256msg2_epu32(_mm_add_epi32(part, seven_ago), before);
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    const __m128i feba = _mm_shuffle_epi32(abef, 0x1b);
    const __m128i dchg = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128(words, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128(words + 1, _mm_alignr_epi8(dchg, feba, 8));
}

}  // namespace spk

#else

namespace spk {

bool has_sha_instructions() { return false; }

void sha256_blocks_by_instructions(uint32_t* state, const uint8_t* bytes, size_t blocks) {
    sha256_blocks(state, bytes, blocks);
}

}  // namespace spk

#endif
