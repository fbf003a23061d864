// Fibres: one for each CUDA thread of a block, each with a stack of its own.
#pragma once
#include <sys/mman.h>

#include <vector>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

extern "C" {  // begin and end of the section that __shared__ names; null where a kernel has no such variable
extern char __start_cuda_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_cuda_shared[] __attribute__((weak, visibility("hidden")));
}

namespace shim {

static const std::size_t STACK = 256 << 10;
static Fibre* fibres;  // of the block that runs
Fibre* running;
static unsigned threads;  // of a block
uint3 block_index_, block_size_, grid_size_;
char* dynamic_shared;
static std::string error;
static void (*body)(void*);
static void* body_data;
static void *scheduler_at, *scheduler_tsan;
static const void* scheduler_stack;
static std::size_t scheduler_stack_size;
static char block_started, block_ended;

inline void happened(void* token) {
#if defined(__SANITIZE_THREAD__)
    __tsan_release(token);
#endif
    (void)token;
}
inline void after(void* token) {
#if defined(__SANITIZE_THREAD__)
    __tsan_acquire(token);
#endif
    (void)token;
}

#if defined(__x86_64__)
// Saves the registers that a called function must keep, and the stack pointer; takes those of the other side.
extern "C" void shim_switch(void** from, void* to);
asm(R"(
.text
.type shim_switch,@function
shim_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
#else
static ucontext_t scheduler_context;
#endif

// From the scheduler to a fibre, until it waits or exits.
SHIM inline void resume(Fibre* fibre) {
    running = fibre;
#if defined(__SANITIZE_ADDRESS__)
    void* own;
    __sanitizer_start_switch_fiber(&own, fibre->stack, STACK);
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(fibre->tsan, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(__x86_64__)
    shim_switch(&scheduler_at, fibre->at);
#else
    swapcontext(&scheduler_context, &fibre->context);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(own, nullptr, nullptr);
#endif
}

// From the running fibre to the scheduler.
SHIM inline void pause() {
    Fibre* fibre = running;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(fibre->state == EXITED ? nullptr : &fibre->asan, scheduler_stack, scheduler_stack_size);
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(scheduler_tsan, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(__x86_64__)
    shim_switch(&fibre->at, scheduler_at);
#else
    swapcontext(&fibre->context, &scheduler_context);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fibre->asan, &scheduler_stack, &scheduler_stack_size);
#endif
}

__attribute__((noinline)) SHIM static void entry() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_size);
#endif
    after(&block_started);
    body(body_data);
    happened(&block_ended);
    running->state = EXITED;
    pause();
    __builtin_unreachable();
}

SHIM inline void start(Fibre& fibre, unsigned number) {
    uint3 size = block_size_;
    fibre.index = {number % size.x, number / size.x % size.y, number / (size.x * size.y)};
    fibre.warp = number / 32, fibre.lane = number % 32;
    fibre.state = READY, fibre.line = 0, fibre.asan = nullptr;
    if (!fibre.stack) {
        int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        fibre.stack = static_cast<char*>(mmap(nullptr, STACK, PROT_READ | PROT_WRITE, flags, -1, 0));
    }
#if defined(__x86_64__)
    void** top = reinterpret_cast<void**>(fibre.stack + STACK);
    *--top = nullptr;  // the ABI wants the stack pointer at 8 modulo 16 where a function begins
    *--top = reinterpret_cast<void*>(entry);
    for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
    fibre.at = top;
#else
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = fibre.stack;
    fibre.context.uc_stack.ss_size = STACK;
    fibre.context.uc_link = nullptr;
    makecontext(&fibre.context, entry, 0);
#endif
#if defined(__SANITIZE_THREAD__)
    // One name for all blocks: they run one after the other in an order that is told, and a new name costs 0.4 ms.
    if (!fibre.tsan) fibre.tsan = __tsan_create_fiber(0);
#endif
}

// NaN in every floating-point type, -1 in every integer: what nobody wrote is not to be relied on.
__attribute__((no_sanitize("address", "thread"))) inline void poison(char* begin, char* end) {
    for (volatile char* at = begin; at < end; ++at) *at = char(0xff);
}

}  // namespace shim
