// SPDX-License-Identifier: Apache-2.0

package options

import (
	"math"
	"os"
	"runtime/debug"
	"strconv"
)

// memoryLimitVariable is set by the downward API, to the container's limit in bytes.
const memoryLimitVariable = "MEMORY_LIMIT"

// uncounted is what the program itself takes of the memory, in bytes, and what is read
// faster than garbage is collected.
const uncounted = 64 << 20

// LimitMemory has garbage collected before the container's limit is reached: what
// others write for the operator to read then costs time, and does not end it. Something
// is left for what Go does not count. GOMEMLIMIT, which Go reads itself, goes first.
func LimitMemory() {
	if limit := memoryLimit(os.Getenv); limit > 0 {
		debug.SetMemoryLimit(limit)
	}
}

// memoryLimit returns the limit that is to be set; 0 if none is.
func memoryLimit(environment func(string) string) int64 {
	if environment("GOMEMLIMIT") != "" {
		return 0
	}
	limit, err := strconv.ParseInt(environment(memoryLimitVariable), 10, 64)
	if err != nil || limit <= 0 || limit == math.MaxInt64 {
		return 0
	}
	return limit - min(max(limit/10, uncounted), limit/2)
}
