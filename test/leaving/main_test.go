// SPDX-License-Identifier: Apache-2.0

// Package leaving tests what remains when something goes, or comes back, on a real
// Calico: the operator half-way, a policy, a record, a node.
package leaving

import (
	"testing"

	"github.com/cpnp-dev/cpnp-operator/test/field"
)

func TestMain(m *testing.M) { field.Main(m) }
