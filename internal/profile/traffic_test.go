// SPDX-License-Identifier: Apache-2.0

package profile_test

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

func parse(t *testing.T, text string) profile.Traffic {
	t.Helper()
	traffic, err := profile.ParseTraffic(text)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return traffic
}

func TestTrafficIsWrittenAsItIsRead(t *testing.T) {
	tests := map[string]profile.Traffic{
		"all":             {},
		"tcp":             {Protocol: profile.TCP},
		"tcp/443":         {Protocol: profile.TCP, First: 443, Last: 443},
		"udp/30000-32767": {Protocol: profile.UDP, First: 30000, Last: 32767},
		"sctp/1-65535":    {Protocol: profile.SCTP, First: 1, Last: 65535},
		"icmp/0":          {Protocol: profile.ICMP},
		"icmp/3/4":        {Protocol: profile.ICMP, Number: 3, Code: 4, HasCode: true},
		"icmpv6/1/0":      {Protocol: profile.ICMPv6, Number: 1, HasCode: true},
		"ip/112":          {Protocol: profile.IP, Number: 112},
	}
	for text, want := range tests {
		t.Run(text, func(t *testing.T) {
			g := NewWithT(t)
			g.Expect(parse(t, text)).To(Equal(want))
			g.Expect(want.String()).To(Equal(text))
		})
	}
}

func TestInvalidTrafficIsRefused(t *testing.T) {
	const form = "write all, tcp, tcp/443 or tcp/30000-32767"
	tests := map[string]string{
		"":            form,
		"tcpp/443":    form,
		"TCP/443":     form,
		"all/1":       form,
		"tcp/":        form,
		"tcp/0":       form,
		"tcp/65536":   form,
		"tcp/9-8":     form,
		"tcp/0-8":     form,
		"tcp/1-2-3":   form,
		"tcp/https":   form,
		"icmp":        form,
		"icmp/256":    form,
		"icmp/3/":     form,
		"icmp/3/4/5":  form,
		"icmpv6/-1":   form,
		"ip":          form,
		"ip/300":      form,
		"ip/6":        "write tcp",
		"ip/58":       "write icmpv6",
		"udp/1 2":     form,
		"node-ports":  form,
		"kube-apiser": form,
	}
	for text, want := range tests {
		t.Run(text, func(t *testing.T) {
			_, err := profile.ParseTraffic(text)
			NewWithT(t).Expect(err).To(MatchError(ContainSubstring(want)))
		})
	}
}

func TestTrafficOverlapsWhereAPacketMatchesBoth(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{"all", "ip/4", true},
		{"all", "all", true},
		{"tcp", "tcp/1", true},
		{"tcp", "udp/1", false},
		{"tcp/1", "tcp/2", false},
		{"tcp/1-5", "tcp/5-9", true},
		{"tcp/1-5", "tcp/6-9", false},
		{"tcp/1-9", "tcp/4", true},
		{"udp/53", "tcp/53", false},
		{"icmp/3", "icmp/3/4", true},
		{"icmp/3/1", "icmp/3/4", false},
		{"icmp/8", "icmp/0", false},
		{"icmp/1", "icmpv6/1", false},
		{"ip/4", "ip/4", true},
		{"ip/4", "ip/50", false},
	}
	for _, test := range tests {
		t.Run(test.a+" and "+test.b, func(t *testing.T) {
			g := NewWithT(t)
			a, b := parse(t, test.a), parse(t, test.b)
			g.Expect(a.Overlaps(b)).To(Equal(test.want))
			g.Expect(b.Overlaps(a)).To(Equal(test.want))
		})
	}
}
