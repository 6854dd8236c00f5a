// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// oldestMinor is the oldest Kubernetes 1.x on which the operator runs.
const oldestMinor = 31

// EnvtestAssets returns the folders with etcd, kube-apiserver and kubectl installed by
// setup-envtest for the machine, the newest version first.
func EnvtestAssets() []string {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil
	}
	store := filepath.Join(cmp.Or(os.Getenv("XDG_DATA_HOME"), filepath.Join(home, ".local", "share")), "kubebuilder-envtest")
	if runtime.GOOS == "darwin" {
		store = filepath.Join(home, "Library", "Application Support", "io.kubebuilder.envtest")
	}
	return assetsIn(filepath.Join(store, "k8s"), runtime.GOOS+"-"+runtime.GOARCH)
}

// assetsIn returns the folders of a store for a platform, with names like
// 1.37.0-linux-amd64.
func assetsIn(store, platform string) []string {
	entries, _ := os.ReadDir(store) // a missing store has no entries
	type installed struct {
		minor, patch int
		dir          string
	}
	var found []installed
	for _, entry := range entries {
		dir := installed{dir: filepath.Join(store, entry.Name())}
		version, ok := strings.CutSuffix(entry.Name(), "-"+platform)
		if _, err := fmt.Sscanf(version, "1.%d.%d", &dir.minor, &dir.patch); !ok || err != nil || dir.minor < oldestMinor {
			continue
		}
		if (Options{}).Missing(dir.dir) == nil {
			found = append(found, dir)
		}
	}
	slices.SortFunc(found, func(a, b installed) int {
		return cmp.Or(cmp.Compare(b.minor, a.minor), cmp.Compare(b.patch, a.patch))
	})
	var dirs []string
	for _, f := range found {
		dirs = append(dirs, f.dir)
	}
	return dirs
}
