// The part of the shim that is the same for all kernels: it is compiled once, and linked to each library of kernels.
#include "shim.h"

#include <algorithm>
#include <string>
#include <vector>

#include "fibres.h"
#include "waiting.h"
#include "blocks.h"
