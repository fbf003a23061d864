// Layer normalisation of one row by one warp: lanes read numbers 32 apart, and sums need no barrier. Shared by layer_norm and
// residual_layer_norm.
#pragma once

struct Moments {
    REAL mean, rstd;
};

// In two passes: E[x^2] - E[x]^2 loses all digits where the mean is large.
__device__ inline Moments moments_of(const REAL* x, i64 D, REAL eps) {
    REAL sum = 0;
    for (i64 d = lane(); d < D; d += 32) sum += x[d];
    REAL mean = warp_sum(sum) / D;
    sum = 0;
    for (i64 d = lane(); d < D; d += 32) sum += (x[d] - mean) * (x[d] - mean);
    return {mean, 1 / sqrt(warp_sum(sum) / D + eps)};
}

// y of one row; gamma and beta may be null
__device__ inline void normalise(const REAL* x, const REAL* gamma, const REAL* beta, Moments moments, REAL* y, i64 D) {
    for (i64 d = lane(); d < D; d += 32) {
        REAL u = (x[d] - moments.mean) * moments.rstd;
        if (gamma) u *= gamma[d];
        y[d] = beta ? u + beta[d] : u;
    }
}

// dx of one row, and dy u, whose sum over the rows is dgamma; more (or null) is added to dx
__device__ inline void normalise_backward(const REAL* dy, const REAL* x, const REAL* gamma, Moments moments, const REAL* more, REAL* dx,
                                          REAL* dy_u, i64 D) {
    REAL sum_g = 0, sum_gu = 0;
    for (i64 d = lane(); d < D; d += 32) {
        REAL u = (x[d] - moments.mean) * moments.rstd;
        REAL g = gamma ? dy[d] * gamma[d] : dy[d];
        sum_g += g;
        sum_gu += g * u;
        if (dy_u) dy_u[d] = dy[d] * u;
    }
    REAL mean_g = warp_sum(sum_g) / D, mean_gu = warp_sum(sum_gu) / D;
    for (i64 d = lane(); d < D; d += 32) {
        REAL u = (x[d] - moments.mean) * moments.rstd;
        REAL g = gamma ? dy[d] * gamma[d] : dy[d];
        REAL d_x = moments.rstd * (g - mean_g - u * mean_gu);
        dx[d] = more ? d_x + more[d] : d_x;
    }
}
