// Where fibres wait for one another: the block's barrier, operations of a warp, and a number that other blocks count up. Every
// mistake of use is told with its line. Which fibre runs when: blocks.h.
#pragma once

namespace shim {

// __syncthreads
SHIM void barrier(int line) {
    Fibre* fibre = running;
    fibre->state = AT_BARRIER, fibre->line = line;
    happened(&fibre->arrived);
    pause();
    after(&fibre->released);
}

// Until *counter >= target, which other blocks of a cooperative launch bring about.
SHIM void wait_until(const volatile unsigned* counter, unsigned target, int line) {
    running->state = AT_GRID, running->line = line, running->counter = counter, running->target = target;
    pause();
}

// __threadfence: publishes what this thread has written, or read of its block behind a barrier, to those that it later tells; and
// lets it see what those have published that it has heard of by waiting. Without the fences waiting orders nothing.
SHIM void fence() {
    happened(&running->published);
    after(&running->seen);
}

// The lane of its segment from which a lane reads.
inline int source(const Fibre& lane) {
    int own = int(lane.lane), first = own & ~(lane.width - 1), by = lane.argument;
    switch (lane.operation) {
        case FROM: return first + (by & (lane.width - 1));
        case XOR: return (own ^ by) < first + lane.width ? own ^ by : own;
        case UP: return own - by < first ? own : own - by;
        case DOWN: return own + by >= first + lane.width ? own : own + by;
        default: return own;
    }
}

// Does the operation for all lanes that `last` names in its mask, if all of them have arrived at it.
SHIM inline bool all_arrived(Fibre* last) {
    Fibre* warp = fibres + last->warp * 32;
    unsigned lanes = std::min(32u, threads - last->warp * 32), votes = 0;
    auto named = [&](unsigned lane) { return lane < lanes && (last->mask >> lane & 1); };
    for (unsigned lane = 0; lane < lanes; ++lane) {
        if (!named(lane)) continue;
        const Fibre& other = warp[lane];
        bool same = other.operation == last->operation && other.mask == last->mask && other.line == last->line;
        if (last->operation == TOGETHER) same &= other.function == last->function;
        if (other.state != AT_WARP || !same) return false;
        votes |= unsigned(other.predicate != 0) << lane;
    }
    for (unsigned lane = 0; lane < lanes; ++lane) {
        if (!named(lane)) continue;
        if (last->operation == TOGETHER) continue;
        int from = source(warp[lane]);
        const std::uint64_t no_value = ~0ull;  // NaN: what a lane that takes no part would give
        warp[lane].result = last->operation == BALLOT ? votes : named(from) ? warp[from].value : no_value;
    }
    for (unsigned lane = 0; lane < lanes; ++lane)
        if (named(lane)) after(&warp[lane].arrived);
    if (last->operation == TOGETHER) {
        void* brought[32];
        for (unsigned lane = 0; lane < 32; ++lane) brought[lane] = reinterpret_cast<void*>(warp[lane].value);
        last->function(brought);
    }
    for (unsigned lane = 0; lane < lanes; ++lane)
        if (named(lane)) happened(&warp[lane].released), warp[lane].state = READY;
    return true;
}

SHIM std::uint64_t together(Operation operation, unsigned mask, std::uint64_t value, int argument, int width, int predicate,
                            int line) {
    Fibre* fibre = running;
    fibre->operation = operation, fibre->mask = mask, fibre->value = value, fibre->argument = argument;
    fibre->width = width, fibre->predicate = predicate, fibre->line = line, fibre->state = AT_WARP;
    if (!(mask >> fibre->lane & 1)) error = "a lane that its own mask does not name, line " + std::to_string(line);
    if (operation == TOGETHER && threads % 32)
        error = "an operation of 32 lanes in a block of " + std::to_string(threads) + " threads, line " + std::to_string(line);
    happened(&fibre->arrived);
    if (!all_arrived(fibre)) pause();
    after(&fibre->released);
    return fibre->result;
}

// "(x, y, z)"
inline std::string text(uint3 index) {
    return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) + ")";
}

// " thread 0 at a barrier, line 7; thread 32 ..." of the block that runs
inline std::string whereabouts(int most) {
    static const char* where[] = {"not waiting", "at a barrier", "at a warp's operation", "waiting for other blocks", "exited"};
    std::string all;
    for (unsigned i = 0; i < threads && most > 0; ++i) {
        const Fibre &fibre = fibres[i], &before = fibres[i ? i - 1 : 0];
        if (i && fibre.state == before.state && fibre.line == before.line) continue;
        all += " thread " + std::to_string(i) + " " + where[fibre.state];
        if (fibre.state != EXITED) all += ", line " + std::to_string(fibre.line);
        all += ";";
        --most;
    }
    return all;
}

inline void tell(const char* what) { error = std::string(what) + " in block " + text(block_index_) + ":" + whereabouts(6); }

}  // namespace shim
