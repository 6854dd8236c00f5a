// SPDX-License-Identifier: Apache-2.0

package stale

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

// A policy that is deleted while a watch lags leaves nothing behind: neither what was
// written just before, nor what was written long ago and is deleted just now.
func TestDeletedWhileAWatchLags(t *testing.T) {
	for resource, by := range map[string]time.Duration{
		"networkpolicies": 2 * time.Second, "services": 2 * time.Second, "hostendpoints": 5 * time.Second,
		"felixconfigurations": 2 * time.Second, "globalnetworkpolicies": 2 * time.Second, "controlplanenodeenactments": 2 * time.Second,
	} {
		t.Run(resource, func(t *testing.T) {
			s := begin(t)
			s.operator()
			s.proxy.Delay(resource, by)
			s.create(s.policy())
			s.Eventually(s.phase(0)).Should(HavePrefix("Enforced"), s.tell)
			s.remove()
			s.sound()
		})
	}
}
