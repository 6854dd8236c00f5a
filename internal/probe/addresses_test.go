// SPDX-License-Identifier: Apache-2.0

package probe_test

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/probe"
)

func TestAddressesComeFromTheEnvironment(t *testing.T) {
	tests := map[string]struct {
		environment map[string]string
		want        []string
	}{
		"outside of a cluster":                 {nil, nil},
		"a pod and its node":                   {map[string]string{"POD_IP": "10.244.0.7", "HOST_IP": "10.0.0.1"}, []string{"10.0.0.1", "10.244.0.7"}},
		"in the network of its node":           {map[string]string{"POD_IP": "10.0.0.1", "HOST_IP": "10.0.0.1"}, []string{"10.0.0.1"}},
		"of both IP versions":                  {map[string]string{"POD_IPS": "10.244.0.7,fd00::7", "HOST_IPS": "10.0.0.1, fd01::1"}, []string{"10.0.0.1", "10.244.0.7", "fd00::7", "fd01::1"}},
		"one variable may have more addresses": {map[string]string{"POD_IP": "10.244.0.7", "POD_IPS": "10.244.0.7,FD00:0::7"}, []string{"10.244.0.7", "fd00::7"}},
		"an IPv4 address as IPv6":              {map[string]string{"POD_IP": "::ffff:10.244.0.7"}, []string{"10.244.0.7"}},
		"a text that is no address is skipped": {map[string]string{"POD_IP": "", "HOST_IP": "node-1"}, nil},
		"more addresses than the API accepts":  {map[string]string{"POD_IPS": "::9,::8,::7,::6,::5,::4,::3,::2,::1"}, []string{"::1", "::2", "::3", "::4", "::5", "::6", "::7", "::8"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, variable := range []string{"POD_IP", "POD_IPS", "HOST_IP", "HOST_IPS"} {
				t.Setenv(variable, test.environment[variable])
			}
			NewWithT(t).Expect(probe.EnvironmentAddresses()).To(Equal(test.want))
		})
	}
}

func TestFieldManagersDifferAndAreNotTooLong(t *testing.T) {
	g := NewWithT(t)
	g.Expect(probe.FieldManager("cp-1.example.com")).To(Equal("cpnp.dev/probe.cp-1.example.com"))
	long := strings.Repeat("a", 252)
	seen := map[string]bool{}
	for _, name := range []string{"a", strings.Repeat("a", 113), strings.Repeat("a", 114), long + "a", long + "b"} {
		manager := probe.FieldManager(name)
		g.Expect(len(manager)).To(BeNumerically("<=", 128))
		g.Expect(seen).NotTo(HaveKey(manager))
		seen[manager] = true
	}
}
