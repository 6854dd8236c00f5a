// SPDX-License-Identifier: Apache-2.0

// Package uninstall removes all policies before the operator goes, and waits until the
// operator has rolled the policies back. Only the operator removes the finalizers of
// policies.
package uninstall

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// Uninstall deletes all policies, and waits for their end.
type Uninstall struct {
	Client client.Client
	// Out gets a line for each step.
	Out io.Writer
	// Namespace is the namespace of the operator's lease.
	Namespace string
	// Timeout limits the wait for the policies.
	Timeout time.Duration
	// LeaderTimeout limits the wait for a sign of life of the operator.
	LeaderTimeout time.Duration
	// Poll is the time between two looks.
	Poll time.Duration
}

// Run deletes the policies if an operator runs to roll back, and waits until the policies
// are gone. The error names the remaining policies and says what to do. After an error, the
// operator still runs and continues, so no deletion is blocked for ever.
func (u *Uninstall) Run(ctx context.Context) error {
	policies, err := u.listPolicies(ctx)
	if err != nil {
		return err
	}
	if len(policies) == 0 {
		u.tell("There is no policy: nothing has to be rolled back")
		return nil
	}
	if err := u.awaitOperator(ctx); err != nil {
		return err
	}
	for i := range policies {
		if err := u.deletePolicy(ctx, &policies[i]); err != nil {
			return err
		}
	}
	return u.awaitEnd(ctx, policies)
}

// listPolicies returns all policies; none if the kind does not exist.
func (u *Uninstall) listPolicies(ctx context.Context) ([]v1alpha1.ControlPlaneNetworkPolicy, error) {
	list := &v1alpha1.ControlPlaneNetworkPolicyList{}
	if err := u.Client.List(ctx, list); err != nil {
		if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("listing the policies: %w", err)
	}
	return list.Items, nil
}

// deletePolicy deletes a policy, unless the policy is another one of the same name since.
func (u *Uninstall) deletePolicy(ctx context.Context, policy *v1alpha1.ControlPlaneNetworkPolicy) error {
	if policy.DeletionTimestamp != nil {
		return nil
	}
	u.tell("Deleting the policy %s", policy.Name)
	err := u.Client.Delete(ctx, policy, client.Preconditions{UID: &policy.UID})
	if err = client.IgnoreNotFound(err); err != nil {
		return fmt.Errorf("deleting the policy %s: %w", policy.Name, err)
	}
	return nil
}

// awaitEnd waits until all policies are gone: present at the start or created since.
func (u *Uninstall) awaitEnd(ctx context.Context, left []v1alpha1.ControlPlaneNetworkPolicy) error {
	var failure error
	there, told := uidsOf(left), ""
	err := wait.PollUntilContextTimeout(ctx, u.Poll, u.Timeout, true, func(ctx context.Context) (bool, error) {
		now, err := u.listPolicies(ctx)
		if failure = err; err != nil {
			return false, nil // the API server may restart
		}
		left = now
		if text := describeLeft(left, there); text != told && len(left) > 0 {
			told = text
			u.tell("Waiting for the operator: %s", text)
		}
		return len(left) == 0, nil
	})
	if err == nil {
		u.tell("All policies are gone")
		return nil
	}
	err = fmt.Errorf("not everything is rolled back after %s: %s. The operator goes on; "+
		"do what the messages say, and uninstall again", u.Timeout, describeLeft(left, there))
	return errors.Join(err, failure) // the last look may have failed, or the time may have ended it
}

func (u *Uninstall) tell(format string, arguments ...any) {
	_, _ = fmt.Fprintf(u.Out, format+"\n", arguments...) // the last error says it all, too
}
