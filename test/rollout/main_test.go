// SPDX-License-Identifier: Apache-2.0

// Package rollout tests the rollout to nodes on a real Calico: which flows are cut during a
// rollout, and which findings roll a node back.
package rollout

import (
	"testing"

	"github.com/cpnp-dev/cpnp-operator/test/field"
)

func TestMain(m *testing.M) { field.RunTests(m) }
