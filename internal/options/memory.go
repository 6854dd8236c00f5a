// SPDX-License-Identifier: Apache-2.0

package options

import (
	"math"
	"os"
	"runtime/debug"
	"strconv"
)

// memoryLimitVariable is set by the downward API to the memory limit of the container,
// in bytes.
const memoryLimitVariable = "MEMORY_LIMIT"

// uncountedMemory is the memory for the program itself, in bytes, and for objects that
// arrive faster than garbage is collected.
const uncountedMemory = 64 << 20

// LimitMemory lets the garbage collector run before the memory limit of the container is
// reached: large foreign objects then cost time, but do not end the operator. A part of the
// memory stays free because Go does not count all memory. GOMEMLIMIT, which Go reads itself,
// takes precedence.
func LimitMemory() {
	if limit := memoryLimit(os.Getenv); limit > 0 {
		debug.SetMemoryLimit(limit)
	}
}

// memoryLimit returns the limit to set, 0 for none.
func memoryLimit(environment func(string) string) int64 {
	if environment("GOMEMLIMIT") != "" {
		return 0
	}
	limit := containerMemory(environment)
	return limit - min(max(limit/10, uncountedMemory), limit/2)
}

// Memory returns the memory of the container, in bytes; 0 if it is not known.
func Memory() int64 { return containerMemory(os.Getenv) }

func containerMemory(environment func(string) string) int64 {
	limit, err := strconv.ParseInt(environment(memoryLimitVariable), 10, 64)
	if err != nil || limit <= 0 || limit == math.MaxInt64 {
		return 0
	}
	return limit
}
