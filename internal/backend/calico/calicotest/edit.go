// SPDX-License-Identifier: Apache-2.0

// Package calicotest helps tests to set up states of Calico.
package calicotest

import (
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
)

// Edit changes the state of Calico that a backend shows. An empty backend becomes an empty
// Calico.
func Edit(live *backend.Live, do func(*calico.Live)) {
	edited := calico.Of(*live)
	do(&edited)
	*live = edited
}
