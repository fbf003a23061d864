// LSTM: what its kernels take, the arrays of all steps.
#pragma once

struct LstmForward {
    const REAL* a_x;     // (T, B, 4H) W_ih x
    const REAL* W_hh;    // (4H, H)
    const REAL* b_ih;    // (4H)
    const REAL* b_hh;    // (4H)
    const i64* lengths;  // (B) or null
    REAL* gates;         // (T, B, 4H)
    REAL* h;             // (T + 1, B, H)
    REAL* c;             // (T + 1, B, H)
    REAL* y;             // (T, B, H) or null
    i64 T, B, H;
    int reverse;
};

struct LstmBackward {
    const REAL* dy;      // (T, B, H) or null
    const REAL* c;       // (T + 1, B, H)
    const REAL* gates;   // (T, B, 4H)
    const REAL* W_hh;    // (4H, H)
    const i64* lengths;  // (B) or null
    REAL* dh;            // (B, H)
    REAL* dc;            // (B, H)
    REAL* da;            // (T, B, 4H)
    i64 T, B, H;
    int reverse;
};
