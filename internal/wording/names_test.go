// SPDX-License-Identifier: Apache-2.0

package wording_test

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

func TestShortenName(t *testing.T) {
	g := NewWithT(t)
	const limit = 40
	g.Expect(wording.ShortenName("cp-1", limit)).To(Equal("cp-1"))
	full := strings.Repeat("n", limit)
	g.Expect(wording.ShortenName(full, limit)).To(Equal(full))
	one, other := wording.ShortenName(full+"-1", limit), wording.ShortenName(full+"-2", limit)
	g.Expect(one).To(HaveLen(limit))
	g.Expect(one).NotTo(Equal(other))
	dotted := strings.Repeat("n", 20) + "..." + full
	g.Expect(wording.ShortenName(dotted, limit)).To(MatchRegexp("^n{20}-[0-9a-f]{16}$"), "a part of a name must not end in a dot")
}
