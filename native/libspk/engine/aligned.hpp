// Arrays that begin at a multiple of 64 bytes and are zero at first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace spk {

constexpr size_t kAlignment = 64;

template <typename Element>
class AlignedArray {
public:
    AlignedArray() = default;
    explicit AlignedArray(size_t size) : size_(size) {
        // Pages that nobody writes stay unmapped, which memset would not leave them.
        block_.reset(std::calloc(size * sizeof(Element) + kAlignment, 1));
        if (!block_) throw std::bad_alloc();
        const auto address = reinterpret_cast<uintptr_t>(block_.get());
        const size_t beyond = address % kAlignment;
        data_ = reinterpret_cast<Element*>(
            static_cast<char*>(block_.get()) + (beyond ? kAlignment - beyond : 0));
    }

    Element* data() const { return data_; }
    size_t size() const { return size_; }
    size_t bytes() const { return size_ * sizeof(Element); }
    Element& operator[](size_t index) const { return data_[index]; }

private:
    struct Free {
        void operator()(void* block) const { std::free(block); }
    };
    std::unique_ptr<void, Free> block_;
    Element* data_ = nullptr;
    size_t size_ = 0;
};

}  // namespace spk
