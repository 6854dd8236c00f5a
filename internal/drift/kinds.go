// SPDX-License-Identifier: Apache-2.0

package drift

// Kinds that the operator writes.
const (
	KindPolicy        = "ControlPlaneNetworkPolicy"
	KindEnactment     = "ControlPlaneNodeEnactment"
	KindNetworkPolicy = "NetworkPolicy"
)
