#include "engine/threads.hpp"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__x86_64__) || defined(_M_X64)
#include <emmintrin.h>
#endif

namespace spk {
namespace {

constexpr int kSpins = 4000;  // some tens of microseconds: longer than from layer to layer

void rest() {
#if defined(__x86_64__) || defined(_M_X64)
    _mm_pause();
#endif
}

// What the threads agree on, in one word: how many jobs there were, whether the last one may still
// be joined, and how many threads work on it. A thread that the system has not yet woken never
// joins, and nobody waits for it.
constexpr uint64_t kWorker = 1, kWorkers = 0xffff, kOpen = 0x10000, kJob = 0x20000;

uint64_t job_of(uint64_t state) { return state / kJob; }

}  // namespace

struct Threads::Shared {
    alignas(64) std::atomic<uint64_t> state{0};
    alignas(64) std::atomic<int64_t> next{0};
    int64_t tasks = 0;
    const std::function<void(int64_t, int)>* work = nullptr;

    std::mutex mutex;
    std::condition_variable begun, ended;
    std::atomic<int> asleep{0};
    std::atomic<bool> caller_asleep{false};
    bool stops = false;  // under the mutex
    std::vector<std::thread> threads;

    void share(int thread) {
        for (int64_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) {
            (*work)(task, thread);
        }
    }

    // Waits for a job that comes after `last` and joins it; false at the end.
    bool join(uint64_t& last) {
        for (int spins = 0;; ++spins) {
            uint64_t now = state.load(std::memory_order_seq_cst);
            if ((now & kOpen) && job_of(now) != last) {
                if (state.compare_exchange_weak(now, now + kWorker, std::memory_order_acq_rel)) {
                    last = job_of(now);
                    return true;
                }
                continue;
            }
            if (spins < kSpins) {
                rest();
                continue;
            }
            std::unique_lock<std::mutex> lock(mutex);
            asleep.fetch_add(1, std::memory_order_seq_cst);
            begun.wait(lock, [&] {
                const uint64_t seen = state.load(std::memory_order_seq_cst);
                return stops || ((seen & kOpen) && job_of(seen) != last);
            });
            asleep.fetch_sub(1, std::memory_order_seq_cst);
            if (stops) return false;
            spins = 0;
        }
    }

    void serve(int thread) {
        uint64_t last = 0;
        while (join(last)) {
            share(thread);
            const uint64_t left = state.fetch_sub(kWorker, std::memory_order_seq_cst) - kWorker;
            if (!(left & kWorkers) && caller_asleep.load(std::memory_order_seq_cst)) {
                std::lock_guard<std::mutex> lock(mutex);
                ended.notify_one();
            }
        }
    }

    void await_workers() {
        state.fetch_and(~kOpen, std::memory_order_seq_cst);
        for (int spins = 0; state.load(std::memory_order_seq_cst) & kWorkers; ++spins) {
            if (spins < kSpins) {
                rest();
                continue;
            }
            std::unique_lock<std::mutex> lock(mutex);
            caller_asleep.store(true, std::memory_order_seq_cst);
            ended.wait(lock, [&] { return !(state.load(std::memory_order_seq_cst) & kWorkers); });
            caller_asleep.store(false, std::memory_order_seq_cst);
        }
    }
};

Threads::Threads(int count) : shared_(nullptr), count_(count < 1 ? 1 : count) {
    if (count_ == 1) return;
    shared_ = new Shared;
    for (int thread = 1; thread < count_; ++thread) {
        shared_->threads.emplace_back([this, thread] { shared_->serve(thread); });
    }
}

Threads::~Threads() {
    if (!shared_) return;
    {
        std::lock_guard<std::mutex> lock(shared_->mutex);
        shared_->stops = true;
    }
    // Who spins falls asleep soon and then finds that it is over.
    shared_->begun.notify_all();
    for (std::thread& thread : shared_->threads) thread.join();
    delete shared_;
}

void Threads::run(int64_t tasks, const std::function<void(int64_t task, int thread)>& work) {
    if (!shared_ || tasks < 2) {
        for (int64_t task = 0; task < tasks; ++task) work(task, 0);
        return;
    }
    shared_->tasks = tasks;
    shared_->work = &work;
    shared_->next.store(0, std::memory_order_relaxed);
    const uint64_t before = shared_->state.load(std::memory_order_relaxed);
    shared_->state.store((job_of(before) + 1) * kJob + kOpen, std::memory_order_seq_cst);
    if (shared_->asleep.load(std::memory_order_seq_cst) > 0) {
        { std::lock_guard<std::mutex> lock(shared_->mutex); }
        shared_->begun.notify_all();
    }
    shared_->share(0);
    shared_->await_workers();
}

}  // namespace spk
