// GRU: what its kernels take, the arrays of all steps.
#pragma once

struct GruForward {
    const REAL* a_x;     // (T, B, 3H) W_ih x
    const REAL* W_hh;    // (3H, H)
    const REAL* b_ih;    // (3H)
    const REAL* b_hh;    // (3H)
    const i64* lengths;  // (B) or null
    REAL* gates;         // (T, B, 3H)
    REAL* inner;         // (T, B, H) the candidate's part of W_hh h' + b_hh, before the reset gate
    REAL* h;             // (T + 1, B, H)
    REAL* y;             // (T, B, H) or null
    i64 T, B, H;
    int reverse;
};

struct GruBackward {
    const REAL* dy;      // (T, B, H) or null
    const REAL* h;       // (T + 1, B, H)
    const REAL* gates;   // (T, B, 3H)
    const REAL* inner;   // (T, B, H)
    const REAL* W_hh;    // (3H, H)
    const i64* lengths;  // (B) or null
    REAL* dh;            // (B, H)
    REAL* da;            // (T, B, 3H) of the input's side
    REAL* dg;            // (T, B, 3H) of the state's side
    i64 T, B, H;
    int reverse;
};
