// The blocks of a grid: one after the other, or, launched cooperatively, all under way at once, by turns.
//
// The race detector must not be told of an order that a device does not give. Blocks that run one after the other share static
// variables, so there each is told to come after the one before. In a cooperative launch nothing orders blocks but their fences
// and the counters that they wait for; and since the scheduler, which opens all barriers, would hear of everything and pass it on,
// it opens them under the name of a fibre of the block's own (Block::doorman).
#pragma once

namespace shim {

struct Block {
    uint3 index;
    Fibre* fibres;
    char* dynamic_shared;
    std::vector<char> static_shared;  // while another block runs
    void* doorman;
    unsigned live;
};

static void* own_name;  // the scheduler's, to ThreadSanitizer
static std::vector<Fibre*> kept;  // with their stacks, for later launches

inline void as(void* fibre) {
#if defined(__SANITIZE_THREAD__)
    if (fibre) __tsan_switch_to_fiber(fibre, __tsan_switch_to_fiber_no_sync);
#endif
    (void)fibre;
}
inline void* named() {
#if defined(__SANITIZE_THREAD__)
    return __tsan_create_fiber(0);
#else
    return nullptr;
#endif
}
inline void forget(void* fibre) {
#if defined(__SANITIZE_THREAD__)
    if (fibre) __tsan_destroy_fiber(fibre);
#endif
    (void)fibre;
}

__attribute__((no_sanitize("address", "thread"))) inline void copy(char* to, const char* from, std::size_t bytes) {
    for (volatile char* at = to; bytes; --bytes) *at++ = *from++;
}

inline std::size_t statics() { return __start_cuda_shared ? std::size_t(__stop_cuda_shared - __start_cuda_shared) : 0; }

SHIM inline void enter(Block& block) {
    fibres = block.fibres, block_index_ = block.index, dynamic_shared = block.dynamic_shared;
    if (!block.static_shared.empty()) copy(__start_cuda_shared, block.static_shared.data(), statics());
}
SHIM inline void leave(Block& block) {
    if (!block.static_shared.empty()) copy(block.static_shared.data(), __start_cuda_shared, statics());
}

// A block before its first instruction: shared memory that nobody wrote, and a fibre for each thread.
SHIM inline bool begin(Block& block, std::uint64_t number, std::size_t shared, bool cooperative) {
    std::size_t place = cooperative ? std::size_t(number) : 0;
    while (kept.size() <= place) kept.push_back(static_cast<Fibre*>(calloc(1024, sizeof(Fibre))));
    uint3 size = grid_size_;
    block.index = {unsigned(number % size.x), unsigned(number / size.x % size.y), unsigned(number / size.x / size.y)};
    block.fibres = kept[place], block.live = threads;
    // fresh for every block and of exactly the asked size, so that AddressSanitizer knows its bounds
    void* fresh = nullptr;
    if (shared && posix_memalign(&fresh, 16, shared)) return error = "no memory", false;
    block.dynamic_shared = static_cast<char*>(fresh);
    poison(block.dynamic_shared, block.dynamic_shared + shared);
    if (cooperative) block.static_shared.assign(statics(), char(0xff));
    if (!cooperative && statics()) poison(__start_cuda_shared, __stop_cuda_shared);
    for (unsigned i = 0; i < threads; ++i) start(block.fibres[i], i);
    block.doorman = cooperative ? named() : nullptr;
    return true;
}

SHIM inline void end(Block& block) {
    if (!block.fibres) return;  // it never began
#if defined(__SANITIZE_THREAD__)
    for (unsigned i = 0; i < threads; ++i) {
        Fibre& fibre = block.fibres[i];
        if (fibre.state != EXITED) __tsan_destroy_fiber(fibre.tsan), fibre.tsan = nullptr;  // it has functions to return from
    }
#endif
    forget(block.doorman);
    free(block.dynamic_shared);
}

// Opens the block's barrier if every thread stands at it; false where something is wrong.
SHIM inline bool open_barrier(Block& block) {
    unsigned waiting = 0, exited = 0;
    int line = 0;
    bool one_line = true;
    for (unsigned i = 0; i < threads; ++i) {
        exited += fibres[i].state == EXITED;
        if (fibres[i].state != AT_BARRIER) continue;
        if (waiting++ == 0) line = fibres[i].line;
        one_line &= fibres[i].line == line;
    }
    block.live = threads - exited;
    if (!waiting || waiting + exited < threads) return true;
    if (exited) return tell("a barrier after some threads have exited"), false;
    if (!one_line) return tell("threads at different barriers"), false;
    as(block.doorman);
    for (unsigned i = 0; i < threads; ++i) after(&fibres[i].arrived);
    for (unsigned i = 0; i < threads; ++i) happened(&fibres[i].released), fibres[i].state = READY;
    if (block.doorman) as(own_name);
    return true;
}

static std::uint32_t random_state;
SHIM inline void shuffle(std::vector<unsigned>& turn) {
    for (std::size_t i = turn.size(); i-- > 1;) {
        random_state = random_state * 1664525u + 1013904223u;
        std::swap(turn[i], turn[(random_state >> 16) % (i + 1)]);
    }
}

// Runs a block's fibres until all have exited, or none can go on before other blocks have; false where something is wrong.
SHIM inline bool advance(Block& block, std::vector<unsigned>& turn, Order order) {
    enter(block);
    bool fine = true, progress = true;
    while (fine && block.live && progress) {
        if (order == SHUFFLED) shuffle(turn);
        progress = false;
        for (unsigned i : turn)
            if (fibres[i].state == READY) resume(&fibres[i]), progress = true;
        fine = error.empty() && open_barrier(block);
    }
    bool others = false;
    for (unsigned i = 0; i < threads; ++i) others |= fibres[i].state == AT_GRID;
    if (fine && block.live && !others) tell("deadlock"), fine = false;
    leave(block);
    return fine;
}

inline bool tell_blocks(const char* what, std::vector<Block>& blocks) {
    error = what + std::string(":");
    int most = 4;
    for (Block& block : blocks)
        if (most-- > 0) enter(block), error += " block " + text(block.index) + ":" + whereabouts(2);
    return false;
}

// Lets go on whoever waits for a counter that has reached its target; false where none can, or something is wrong. Those that one
// counter lets go see what each of them has published before, and nothing else.
SHIM inline bool open_counters(std::vector<Block>& blocks) {
    std::vector<Fibre*> waiting, met;
    for (Block& block : blocks)
        for (unsigned i = 0; i < threads; ++i)
            if (block.fibres[i].state == AT_GRID) waiting.push_back(&block.fibres[i]);
    bool any = false;
    for (Fibre* first : waiting) {
        if (first->state != AT_GRID || *first->counter < first->target) continue;
        met.clear();
        for (Fibre* other : waiting)
            if (other->state == AT_GRID && other->counter == first->counter) met.push_back(other);
        for (Fibre* other : met) {
            if (*other->counter > other->target) return tell_blocks("a counter beyond what is waited for", blocks);
            if (other->line != first->line) return tell_blocks("blocks at different barriers of the grid", blocks);
        }
        void* doorman = named();
        Fibre **each = met.data(), **stop = each + met.size();  // no iterators: the race detector would see the doorman use them
        as(doorman);
        for (Fibre** other = each; other < stop; ++other) after(&(*other)->published);
        for (Fibre** other = each; other < stop; ++other) happened(&(*other)->seen), (*other)->state = READY;
        as(own_name);
        forget(doorman);
        any = true;
    }
    return any || tell_blocks("deadlock of the grid", blocks);
}

SHIM inline bool run_cooperative(std::uint64_t count, std::size_t shared, Order order, std::vector<unsigned>& turn) {
#if defined(__SANITIZE_THREAD__)
    if (statics() && count > 1) return error = "ThreadSanitizer needs dynamic shared memory in a cooperative launch", false;
#endif
    std::vector<Block> blocks(count);
    std::vector<unsigned> blocks_turn(count);
    bool fine = true;
    for (unsigned n = 0; fine && n < count; ++n) blocks_turn[n] = n, fine = begin(blocks[n], n, shared, true);
    if (order == DESCENDING) std::reverse(blocks_turn.begin(), blocks_turn.end());
    happened(&block_started);
    for (bool live = true; fine && live;) {
        if (order == SHUFFLED) shuffle(blocks_turn);
        for (unsigned n : blocks_turn) fine = fine && (!blocks[n].live || advance(blocks[n], turn, order));
        live = false;
        for (Block& block : blocks) live |= block.live > 0;
        if (fine && live) fine = open_counters(blocks);
    }
    after(&block_ended);
    for (Block& block : blocks) end(block);
    return fine;
}

SHIM inline bool run_in_turn(std::uint64_t count, std::size_t shared, Order order, std::vector<unsigned>& turn) {
    bool fine = true;
    for (std::uint64_t n = 0; fine && n < count; ++n) {
        Block block{};
        if (!begin(block, order == DESCENDING ? count - 1 - n : n, shared, false)) return false;
        happened(&block_started);
        fine = advance(block, turn, order);
        if (fine && block.live) tell("waiting for other blocks in a launch that is not cooperative"), fine = false;
        after(&block_ended);
        end(block);
    }
    return fine;
}

SHIM const char* run_grid(void (*function)(void*), void* data, uint3 grid, uint3 block, std::size_t shared, Order order,
                          bool cooperative) {
    std::uint64_t size = std::uint64_t(block.x) * block.y * block.z;
    if (size < 1 || size > 1024) return "a block has 1 to 1024 threads";
    if (shared > 227 * 1024) return "more than 227 KiB of shared memory";
    if (grid.x < 1 || grid.y < 1 || grid.z < 1 || grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535)
        return "a grid has 1 to 2147483647 x 65535 x 65535 blocks";
    body = function, body_data = data, threads = unsigned(size), block_size_ = block, grid_size_ = grid;
    error.clear();
    random_state = 1;
#if defined(__SANITIZE_THREAD__)
    own_name = scheduler_tsan = __tsan_get_current_fiber();
#endif
    std::vector<unsigned> turn(threads);
    for (unsigned i = 0; i < threads; ++i) turn[i] = order == DESCENDING ? threads - 1 - i : i;
    std::uint64_t count = std::uint64_t(grid.x) * grid.y * grid.z;
    bool fine = (cooperative ? run_cooperative : run_in_turn)(count, shared, order, turn);
    return fine ? nullptr : error.c_str();
}

}  // namespace shim
