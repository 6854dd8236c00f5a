// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"
)

// A mark may be made while a line is being written: the request of this line came before
// the mark.
func TestMarkInTheMiddleOfALine(t *testing.T) {
	g := NewWithT(t)
	line := func(user string) string {
		return `{"stage":"ResponseComplete","verb":"get","user":{"username":"` + user + `"}}` + "\n"
	}
	first, second := line("first"), line("second")
	log := &Audit{path: filepath.Join(t.TempDir(), "audit.log")}
	g.Expect(os.WriteFile(log.path, []byte(first+second), 0o600)).To(Succeed())
	for mark, want := range map[Mark][]string{
		0:                         {"first", "second"},
		Mark(len(first) / 2):      {"second"},
		Mark(len(first)):          {"second"},
		Mark(len(first) + 1):      nil,
		Mark(len(first + second)): nil,
	} {
		events, err := log.Since(mark)
		g.Expect(err).NotTo(HaveOccurred())
		var users []string
		for _, e := range events {
			users = append(users, e.User)
		}
		g.Expect(users).To(Equal(want), "mark %d", mark)
	}
}
