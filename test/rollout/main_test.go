// SPDX-License-Identifier: Apache-2.0

// Package rollout tests how protection comes to the nodes, on a
// real Calico: what is cut on the way, and what takes a node back.
package rollout

import (
	"testing"

	"github.com/cpnp-dev/cpnp-operator/test/field"
)

func TestMain(m *testing.M) { field.Main(m) }
