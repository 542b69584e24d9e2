// A few threads that share the tasks of one layer at a time.
#pragma once

#include <cstdint>
#include <functional>

namespace spk {

class Threads {
public:
    // Including the one that calls.
    explicit Threads(int count);
    ~Threads();
    Threads(const Threads&) = delete;
    Threads& operator=(const Threads&) = delete;

    int count() const { return count_; }
    // Calls work(task, thread) for each task 0..tasks-1, in any order, and waits for all. Waiting
    // spins for a bounded time and then blocks, since spinning collapses on shared machines.
    void run(int64_t tasks, const std::function<void(int64_t task, int thread)>& work);

private:
    struct Shared;
    Shared* shared_;
    int count_;
};

}  // namespace spk
