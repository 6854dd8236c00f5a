// SPDX-License-Identifier: Apache-2.0

// Package leaving tests the state of a real Calico after a loss or a return: of the
// operator between two writes, of a policy, of an enactment, of a node.
package leaving

import (
	"testing"

	"github.com/cpnp-dev/cpnp-operator/test/field"
)

func TestMain(m *testing.M) { field.RunTests(m) }
