// Where fibres wait for one another: the block's barrier, and operations of a warp. Every mistake of use is told with its line.
#pragma once

namespace shim {

enum Operation { FROM, XOR, UP, DOWN, BALLOT, TOGETHER };

// __syncthreads
SHIM inline void barrier(int line) {
    Fibre* fibre = running;
    fibre->state = AT_BARRIER, fibre->line = line;
    happened(&fibre->arrived);
    pause();
    after(&fibre->released);
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
        const std::uint64_t nobody = ~0ull;  // NaN: what a lane that takes no part would give
        warp[lane].result = last->operation == BALLOT ? votes : named(from) ? warp[from].value : nobody;
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

SHIM inline std::uint64_t together(Operation operation, unsigned mask, std::uint64_t value, int argument, int width,
                                   int predicate, int line) {
    Fibre* fibre = running;
    fibre->operation = operation, fibre->mask = mask, fibre->value = value, fibre->argument = argument;
    fibre->width = width, fibre->predicate = predicate, fibre->line = line, fibre->state = AT_WARP;
    if (!(mask >> fibre->lane & 1)) error = "a lane that its own mask does not name, line " + std::to_string(line);
    happened(&fibre->arrived);
    if (!all_arrived(fibre)) pause();
    after(&fibre->released);
    return fibre->result;
}

template <class V> V exchange(Operation operation, unsigned mask, V v, int argument, int width, int line) {
    static_assert(sizeof(V) <= 8, "a shuffle moves at most 8 bytes");
    std::uint64_t bits = 0;
    std::memcpy(&bits, &v, sizeof v);
    bits = together(operation, mask, bits, argument, width, 0, line);
    std::memcpy(&v, &bits, sizeof v);
    return v;
}

inline unsigned ballot(unsigned mask, int predicate, int line) {
    return unsigned(together(BALLOT, mask, 0, 0, 32, predicate, line));
}

// All 32 lanes bring an object each, and one function gets them all: what a tensor core does with the registers of a warp.
template <auto function, class T> void whole_warp(T& own, int line = __builtin_LINE()) {
    if (threads % 32) error = "an operation of 32 lanes in a block of " + std::to_string(threads) + " threads, line " + std::to_string(line);
    running->function = [](void* const* brought) {
        T* lanes[32];
        for (int lane = 0; lane < 32; ++lane) lanes[lane] = static_cast<T*>(brought[lane]);
        function(lanes);
    };
    together(TOGETHER, ~0u, reinterpret_cast<std::uint64_t>(&own), 0, 32, 0, line);
}

// "what in block (x, y, z): thread 0 at a barrier, line 7; thread 32 ..."
inline void tell(const char* what) {
    static const char* where[] = {"not waiting", "at a barrier", "at a warp's operation", "exited"};
    auto n = [](unsigned number) { return std::to_string(number); };
    error = std::string(what) + " in block (" + n(block_index_.x) + ", " + n(block_index_.y) + ", " + n(block_index_.z) + "):";
    int told = 0;
    for (unsigned i = 0; i < threads && told < 6; ++i) {
        const Fibre &fibre = fibres[i], &before = fibres[i ? i - 1 : 0];
        if (i && fibre.state == before.state && fibre.line == before.line) continue;
        error += " thread " + n(i) + " " + where[fibre.state];
        if (fibre.state != EXITED) error += ", line " + n(unsigned(fibre.line));
        error += ";";
        ++told;
    }
}

// Opens the barrier if every thread of the block stands at it; false where that can never be.
SHIM inline bool open_barrier(bool progress) {
    unsigned waiting = 0, exited = 0;
    int line = 0;
    bool one_line = true;
    for (unsigned i = 0; i < threads; ++i) {
        exited += fibres[i].state == EXITED;
        if (fibres[i].state != AT_BARRIER) continue;
        if (waiting++ == 0) line = fibres[i].line;
        one_line &= fibres[i].line == line;
    }
    if (waiting && waiting + exited == threads) {
        if (exited) return tell("a barrier after some threads have exited"), false;
        if (!one_line) return tell("threads at different barriers"), false;
        for (unsigned i = 0; i < threads; ++i) after(&fibres[i].arrived);
        for (unsigned i = 0; i < threads; ++i) happened(&fibres[i].released), fibres[i].state = READY;
    } else if (exited < threads && !progress) {
        return tell("deadlock"), false;
    }
    return true;
}

SHIM inline bool run_block(std::size_t shared, Order order) {
    if (__start_cuda_shared) poison(__start_cuda_shared, __stop_cuda_shared);
    // fresh for every block and of exactly the asked size, so that AddressSanitizer knows its bounds
    void* fresh = nullptr;
    if (shared && posix_memalign(&fresh, 16, shared)) return error = "no memory", false;
    dynamic_shared = static_cast<char*>(fresh);
    poison(dynamic_shared, dynamic_shared + shared);
    std::vector<unsigned> turn(threads);
    for (unsigned i = 0; i < threads; ++i) start(fibres[i], turn[i] = i);
#if defined(__SANITIZE_THREAD__)
    scheduler_tsan = __tsan_get_current_fiber();
#endif
    happened(&block_started);
    if (order == DESCENDING) std::reverse(turn.begin(), turn.end());
    std::uint32_t random = 1;
    bool fine = true;
    for (unsigned live = threads; fine && live;) {
        for (unsigned i = threads - 1; order == SHUFFLED && i > 0; --i) {
            random = random * 1664525u + 1013904223u;
            std::swap(turn[i], turn[(random >> 16) % (i + 1)]);
        }
        bool progress = false;
        for (unsigned i : turn)
            if (fibres[i].state == READY) resume(&fibres[i]), progress = true;
        fine = error.empty() && open_barrier(progress);
        live = 0;
        for (unsigned i = 0; i < threads; ++i) live += fibres[i].state != EXITED;
    }
    after(&block_ended);
#if defined(__SANITIZE_THREAD__)
    for (unsigned i = 0; i < threads; ++i) __tsan_destroy_fiber(fibres[i].tsan);
#endif
    free(fresh);
    return fine;
}

SHIM inline const char* run_grid(void (*function)(void*), void* data, uint3 grid, uint3 block, std::size_t shared, Order order) {
    std::uint64_t size = std::uint64_t(block.x) * block.y * block.z;
    if (size < 1 || size > 1024) return "a block has 1 to 1024 threads";
    if (shared > 227 * 1024) return "more than 227 KiB of shared memory";
    if (grid.x < 1 || grid.y < 1 || grid.z < 1 || grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535)
        return "a grid has 1 to 2147483647 x 65535 x 65535 blocks";
    body = function, body_data = data, threads = unsigned(size), block_size_ = block, grid_size_ = grid;
    error.clear();
    std::uint64_t blocks = std::uint64_t(grid.x) * grid.y * grid.z;
    for (std::uint64_t n = 0; n < blocks; ++n) {
        std::uint64_t b = order == DESCENDING ? blocks - 1 - n : n;
        block_index_ = {unsigned(b % grid.x), unsigned(b / grid.x % grid.y), unsigned(b / grid.x / grid.y)};
        if (!run_block(shared, order)) return error.c_str();
    }
    return nullptr;
}

}  // namespace shim
