// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
)

// Availability says whether Calico can be used, and how far.
func (c Live) Availability() backend.Availability {
	return backend.Availability{
		Readable: c.IsReadable(), MayHideObjects: c.MayHideObjects(), Partial: c.TooLarge != "",
		Problem: c.Problem, Settling: c.Settling, Missing: c.missing(), Unavailable: c.unavailable(),
	}
}

// missing returns the reason why Calico cannot protect nodes of this cluster, if the reason
// is certain.
func (c Live) missing() *backend.Obstacle {
	switch {
	case c.Problem != "":
		return nil // there may be more to say
	case c.TooLarge != "":
		return &backend.Obstacle{
			Reason:  v1alpha1.ReasonCalicoTooLarge,
			Message: "Calico has more objects than the operator can keep in memory and judge: " + c.TooLarge,
		}
	case c.Mode == Absent:
		return &backend.Obstacle{
			Reason: v1alpha1.ReasonCalicoNotInstalled,
			Message: "Calico is not installed, and only its host endpoints can protect components in their node's network: " +
				"install Calico (it can enforce policy beside another CNI), or set spec.network.hostBackend to None",
		}
	case c.Mode == V1Only:
		return &backend.Obstacle{
			Reason: v1alpha1.ReasonCalicoNotInstalled,
			Message: "Calico serves crd.projectcalico.org/v1 only, which is not to be written by others: install its API server " +
				"(an APIServer object of operator.tigera.io/v1 named default, or the manifest apiserver.yaml of Calico's release)",
		}
	}
	return nil
}

// unavailable returns the reason why Calico, installed or not, cannot be used now.
func (c Live) unavailable() *backend.Obstacle {
	switch {
	case c.Problem != "":
		return &backend.Obstacle{Reason: v1alpha1.ReasonCalicoUnavailable, Message: c.Problem}
	case c.Mode == Undetected:
		return &backend.Obstacle{Reason: v1alpha1.ReasonCalicoUnavailable, Message: "It is being found out whether Calico is there"}
	}
	return nil
}
