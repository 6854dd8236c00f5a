// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

func TestRemoveStale(t *testing.T) {
	g := NewWithT(t)
	base := t.TempDir()
	folder := func(name string, age time.Duration) string {
		path := filepath.Join(base, name)
		g.Expect(os.Mkdir(path, 0o700)).To(Succeed())
		lock, err := lockFile(filepath.Join(path, tempLock))
		g.Expect(err).NotTo(HaveOccurred())
		t.Cleanup(func() { _ = lock.Close() })
		if name != "cpnp-testbed-alive" {
			g.Expect(lock.Close()).To(Succeed())
		}
		changed := time.Now().Add(-age)
		g.Expect(os.Chtimes(path, changed, changed)).To(Succeed())
		return path
	}
	killed := folder("cpnp-testbed-killed", time.Hour)
	alive := folder("cpnp-testbed-alive", time.Hour)
	fresh := folder("cpnp-testbed-fresh", 0)
	foreign := folder("other", time.Hour)

	removeStale(base)
	g.Expect(killed).NotTo(BeADirectory())
	for _, path := range []string{alive, fresh, foreign} {
		g.Expect(path).To(BeADirectory())
	}
}
