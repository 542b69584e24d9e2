#include "engine/placement.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

namespace spk {
namespace {

constexpr int64_t kReadableBehind = 256;  // as maps.hpp promises
constexpr int32_t kEnd = std::numeric_limits<int32_t>::max();

// Memory for one or several values, from the step that writes it to the last one that reads it.
struct Room {
    int64_t bytes;
    int32_t first, last;
    int64_t offset = -1;
};

struct Lifetime {
    int32_t first = 0, last = 0;
};

std::vector<Lifetime> lifetimes_of(const Network& network, const Plan& plan) {
    std::vector<Lifetime> lifetimes(network.nodes.size());
    for (int32_t index = 0; index < int32_t(plan.steps.size()); ++index) {
        const PlannedStep& step = plan.steps[index];
        for (size_t i = 0; i < step.stages.size(); ++i) {
            const PlannedStage& stage = step.stages[i];
            if (i > 0 || !step.fires_alone) lifetimes[stage.node] = {index, index};
            for (const int32_t neuron : stage.neurons) {
                // Counts are shown after each time step, whether they change or not.
                const bool changes = plan.paces[neuron] == Pace::moving;
                lifetimes[neuron] = {index, changes ? index : kEnd};
            }
        }
        for (const int32_t source : step.reads(network)) {
            // What changes less often than its reader must outlive the run.
            const bool stays = plan.paces[source] < step.pace;
            int32_t& last = lifetimes[source].last;
            last = stays ? kEnd : std::max(last, index);
        }
    }
    lifetimes.front().last = kEnd;  // the image may be presented again
    for (Lifetime& life : lifetimes) {
        // What outlives a run is there when the next one begins.
        if (life.last == kEnd) life.first = 0;
    }
    return lifetimes;
}

// Whether the sum may be written over the term that is added: nobody reads it any more.
bool may_replace(
    const Network& network, const Plan& plan, const std::vector<Lifetime>& lifetimes, int32_t index,
    const PlannedStage& stage) {
    const PlannedStep& step = plan.steps[index];
    const std::vector<int32_t> reads = step.reads(network);
    return stage.added >= 0 && plan.layouts[stage.node] == Layout::currents &&
           lifetimes[stage.added].last == index &&
           std::count(reads.begin(), reads.end(), stage.added) == 1;
}

// Places rooms so that none meets another that is in use at the same time; the largest first.
int64_t arrange(std::vector<Room>& rooms) {
    std::vector<Room*> order;
    for (Room& room : rooms) order.push_back(&room);
    std::stable_sort(order.begin(), order.end(), [](const Room* a, const Room* b) {
        return a->bytes > b->bytes;
    });
    int64_t total = 0;
    std::vector<Room*> placed;  // by offset
    for (Room* room : order) {
        int64_t offset = 0;
        for (const Room* other : placed) {
            if (other->last < room->first || room->last < other->first) continue;
            if (offset + room->bytes <= other->offset) break;
            offset = std::max(offset, other->offset + other->bytes);
        }
        room->offset = offset;
        total = std::max(total, offset + room->bytes);
        placed.insert(
            std::upper_bound(
                placed.begin(), placed.end(), room,
                [](const Room* a, const Room* b) { return a->offset < b->offset; }),
            room);
    }
    return total;
}

int32_t border_of(const Network& network, const Plan& plan, int32_t node) {
    int32_t border = 0;
    for (const int32_t reader : plan.readers[node]) {
        const Synapse* synapse = std::get_if<Synapse>(&network.nodes[reader].operation);
        if (synapse) border = std::max(border, synapse->padding);
    }
    return border;
}

Value describe(const Network& network, const Plan& plan, int32_t node, int32_t images) {
    const Shape& shape = plan.shapes[node];
    Value value;
    value.layout = plan.layouts[node];
    if (value.layout == Layout::counts) {
        CountMap& map = value.counts;
        map.images = images;
        map.channels = int32_t(shape.channels);
        map.height = int32_t(shape.height);
        map.width = int32_t(shape.width);
        map.stride = round_up(map.channels, kCountLanes);
        map.border = border_of(network, plan, node);
        const Input* input = std::get_if<Input>(&network.nodes[node].operation);
        map.zero = input && input->low < 0 ? 128 : 0;
    } else {
        CurrentMap& map = value.currents;
        map.images = images;
        map.channels = int32_t(shape.channels);
        map.height = int32_t(shape.height);
        map.width = int32_t(shape.width);
        map.stride = round_up(map.channels, kCurrentLanes);
    }
    return value;
}

int64_t bytes_of(const Value& value) {
    const int64_t bytes =
        value.is_counts()
            ? value.counts.image_bytes() * value.counts.images + kReadableBehind
            : value.currents.pixels() * value.currents.stride * int64_t(sizeof(int32_t));
    return (bytes + int64_t(kAlignment) - 1) / int64_t(kAlignment) * int64_t(kAlignment);
}

// Maps with the same border and padding, which stay as they are when one follows the other.
bool same_geometry(const CountMap& a, const CountMap& b) {
    return a.channels == b.channels && a.height == b.height && a.width == b.width &&
           a.border == b.border && a.zero == b.zero;
}

}  // namespace

Placement::Placement(const Network& network, const Plan& plan, int32_t images)
    : nonzeros_(network.nodes.size()) {
    const std::vector<Lifetime> lifetimes = lifetimes_of(network, plan);
    std::vector<Room> rooms;
    struct Slot {
        const CountMap* map;
        int32_t busy_until;
        size_t room;
    };
    std::vector<Slot> slots;
    std::vector<size_t> room_of(network.nodes.size());
    for (size_t node = 0; node < network.nodes.size(); ++node) {
        values_.push_back(describe(network, plan, int32_t(node), images));
    }
    const auto place = [&](int32_t node, int32_t over) {
        const Value& value = values_[node];
        const Lifetime life = lifetimes[node];
        if (value.layout == Layout::none) return;
        if (over >= 0) {
            room_of[node] = room_of[over];
            rooms[room_of[over]].last = life.last;
        } else if (value.is_counts()) {
            for (Slot& slot : slots) {
                if (slot.busy_until >= life.first) continue;
                if (!same_geometry(*slot.map, value.counts)) continue;
                slot.busy_until = life.last;
                room_of[node] = slot.room;
                return;
            }
            slots.push_back({&value.counts, life.last, rooms.size()});
            room_of[node] = rooms.size();
            rooms.push_back({bytes_of(value), 0, kEnd});
        } else {
            room_of[node] = rooms.size();
            rooms.push_back({bytes_of(value), life.first, life.last});
        }
    };
    for (int32_t index = 0; index < int32_t(plan.steps.size()); ++index) {
        const PlannedStep& step = plan.steps[index];
        for (size_t i = 0; i < step.stages.size(); ++i) {
            const PlannedStage& stage = step.stages[i];
            const bool replaces = may_replace(network, plan, lifetimes, index, stage);
            if (i > 0 || !step.fires_alone) place(stage.node, replaces ? stage.added : -1);
            for (const int32_t neuron : stage.neurons) place(neuron, -1);
        }
    }
    memory_ = AlignedArray<uint8_t>(size_t(arrange(rooms)));
    for (size_t node = 0; node < values_.size(); ++node) {
        Value& value = values_[node];
        if (value.layout == Layout::none) continue;
        uint8_t* at = memory_.data() + rooms[room_of[node]].offset;
        if (value.is_counts()) {
            value.counts.data = at;
            value.counts.nonzeros = &nonzeros_[node];
            if (value.counts.zero) {
                std::memset(at, value.counts.zero, size_t(value.counts.image_bytes() * images));
            }
        } else {
            value.currents.data = reinterpret_cast<int32_t*>(at);
        }
    }
}

}  // namespace spk
