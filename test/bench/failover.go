// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// failovers is how often the leader ends in each way.
	failovers = 3
	// failoverLimit bounds one failover.
	failoverLimit = time.Minute
	leaseName     = "cpnp-operator.cpnp.dev"
)

// measureFailover measures how long a drift stays if the leader ends at the same moment: by a
// signal, as when its node is drained, and by a crash.
func (b *bench) measureFailover(ctx context.Context) error {
	b.operator.stopProgram()
	if err := b.grantLease(ctx); err != nil {
		return err
	}
	var replicas []*process
	defer func() {
		for _, replica := range replicas {
			replica.stopProgram()
		}
	}()
	kubeconfig, err := b.cluster.AddUserKubeconfig(operatorUser)
	if err != nil {
		return err
	}
	for i := range 2*failovers + 1 {
		replica, err := b.startReplica(ctx, i, kubeconfig)
		if err != nil {
			return err
		}
		replicas = append(replicas, replica)
		if i == 0 {
			if err := b.waitForLeader(ctx, replica); err != nil {
				return err
			}
			continue
		}
		// One leads, and one stands by.
		if err := replica.waitUntilIdle(ctx); err != nil {
			return err
		}
		took, err := b.failOver(ctx, replicas[0], i, i > failovers)
		if err != nil {
			return err
		}
		if i > failovers {
			b.report.failover.crash = append(b.report.failover.crash, took)
		} else {
			b.report.failover.graceful = append(b.report.failover.graceful, took)
		}
		replicas = slices.Delete(replicas, 0, 1)
		if err := b.waitForLeader(ctx, replicas[0]); err != nil {
			return err
		}
	}
	return nil
}

// failOver ends the leader, makes a node drift, and returns how long the drift stays.
func (b *bench) failOver(ctx context.Context, leader *process, i int, crash bool) (time.Duration, error) {
	k := kinds[0]
	object := k.objectNamed(k.target(operatorUser, i))
	started := time.Now()
	if crash {
		leader.killProgram()
	} else {
		go leader.stopProgram()
	}
	if err := b.admin.Patch(ctx, object, client.RawPatch(types.MergePatchType, []byte(k.drift))); err != nil {
		return 0, err
	}
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, failoverLimit, true, func(ctx context.Context) (bool, error) {
		err := b.admin.Get(ctx, client.ObjectKeyFromObject(object), object)
		return err == nil && k.right(object), err
	})
	if err != nil {
		return 0, fmt.Errorf("the other replica has not repaired the drift: %w", err)
	}
	return time.Since(started), nil
}

// waitForLeader waits until a replica leads.
func (b *bench) waitForLeader(ctx context.Context, replica *process) error {
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: leaseName}}
	var holder string
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, failoverLimit, true, func(ctx context.Context) (bool, error) {
		if err := client.IgnoreNotFound(b.admin.Get(ctx, client.ObjectKeyFromObject(lease), lease)); err != nil {
			return false, err
		}
		if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
			return false, nil
		}
		holder = *lease.Spec.HolderIdentity
		return holder != b.lastLeader, nil
	})
	if err != nil {
		return fmt.Errorf("no replica leads: %w", err)
	}
	b.lastLeader = holder
	return replica.waitUntilIdle(ctx)
}

// startReplica starts the operator as one of several.
func (b *bench) startReplica(ctx context.Context, i int, kubeconfig string) (*process, error) {
	return b.startProgram(ctx, fmt.Sprintf("replica-%d", i), b.program, nil, "--kubeconfig="+kubeconfig, "--leader-elect",
		"--leader-election-namespace="+metav1.NamespaceDefault, "--metrics-bind-address=0", "--health-probe-bind-address=0")
}

// grantLease gives the operator the shipped rights to its lease.
func (b *bench) grantLease(ctx context.Context) error {
	role := &rbacv1.Role{}
	if err := readYAML("config/rbac/leader_election_role.yaml", role); err != nil {
		return err
	}
	role.Namespace = metav1.NamespaceDefault
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: role.Namespace, Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: operatorUser}},
	}
	for _, object := range []client.Object{role, binding} {
		if err := b.admin.Create(ctx, object); err != nil {
			return err
		}
	}
	return nil
}

// failoverRow is the line of the report.
func failoverRow(what string, took []time.Duration) []string {
	var each []string
	for _, d := range took {
		each = append(each, fmt.Sprintf("%.1f s", d.Seconds()))
	}
	return []string{what, "", strings.Join(each, ", "), ""}
}
