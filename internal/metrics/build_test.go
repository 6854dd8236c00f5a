// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
)

func TestBuildIsDescribed(t *testing.T) {
	recorded := &debug.BuildInfo{
		Main: debug.Module{Version: "v0.0.1"}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}},
	}
	check := func(got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, append(want, runtime.Version())) {
			t.Errorf("the build is %q instead of %q", got, want)
		}
	}
	check(describeBuild(nil, false), "unknown", "unknown")
	check(describeBuild(&debug.BuildInfo{}, true), "unknown", "unknown")
	check(describeBuild(recorded, true), "v0.0.1", "abc")
	version, revision = "v0.1.0", "def"
	t.Cleanup(func() { version, revision = "", "" })
	check(describeBuild(recorded, true), "v0.1.0", "def")
}
