// SPDX-License-Identifier: Apache-2.0

package options

import (
	"testing"

	. "github.com/onsi/gomega"
)

func TestMemoryLimitLeavesRoomForTheProgram(t *testing.T) {
	for name, test := range map[string]struct {
		environment map[string]string
		want        int64
	}{
		"in a container":         {map[string]string{"MEMORY_LIMIT": "268435456"}, 192 << 20},
		"in a large container":   {map[string]string{"MEMORY_LIMIT": "1073741824"}, 966367641},
		"in a small container":   {map[string]string{"MEMORY_LIMIT": "67108864"}, 32 << 20},
		"outside of a container": {nil, 0},
		"set by the user":        {map[string]string{"MEMORY_LIMIT": "268435456", "GOMEMLIMIT": "100MiB"}, 0},
		"no number":              {map[string]string{"MEMORY_LIMIT": "256Mi"}, 0},
		"none":                   {map[string]string{"MEMORY_LIMIT": "0"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			limit := memoryLimit(func(name string) string { return test.environment[name] })
			NewWithT(t).Expect(limit).To(BeNumerically("~", test.want, 10))
		})
	}
}
