// SPDX-License-Identifier: Apache-2.0

package posture_test

import (
	"os"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/controls"
)

func TestEveryCheckIsDocumented(t *testing.T) {
	g := NewWithT(t)
	page, err := os.ReadFile("../../docs/posture.md")
	g.Expect(err).NotTo(HaveOccurred())
	for _, check := range controls.Checks() {
		g.Expect(string(page)).To(ContainSubstring("| `"+check+"` |"), "docs/posture.md explains the check")
	}
}
