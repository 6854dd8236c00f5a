// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"context"
	"fmt"
	"testing"
	"time"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/controllers"
	"github.com/cpnp-dev/cpnp-operator/test/operator"
)

const (
	release   = "cpnp-operator"
	namespace = "cpnp-system"
)

// stageTime is short, because no Felix has to follow.
const stageTime = 100 * time.Millisecond

// releaseFollower runs the operator while the release wants that: no container runs here.
type releaseFollower struct{ running *operator.Running }

// followRelease starts the operator, with only the token of the installed
// account, if the Deployment wants replicas, and stops the operator otherwise.
func (f *releaseFollower) followRelease(ctx context.Context) error {
	deployment := &appsv1.Deployment{}
	err := admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: release}, deployment)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	wanted := err == nil && ptr.Deref(deployment.Spec.Replicas, 1) > 0
	switch {
	case wanted && f.running == nil:
		config, err := accountConfig(ctx)
		if err != nil {
			return err
		}
		f.running, err = operator.Start(config, controllers.Options{StageTime: stageTime}, electLeader)
		return err
	case !wanted && f.running != nil:
		f.stopOperator()
	}
	return nil
}

// electLeader makes the operator hold the lease, as in the release.
func electLeader(o *ctrl.Options) { o.LeaderElection, o.LeaderElectionNamespace = true, namespace }

// stopOperator stops the operator. An operator whose account was deleted may end with an error.
func (f *releaseFollower) stopOperator() {
	if f.running != nil {
		_ = f.running.Stop()
		f.running = nil
	}
}

func accountConfig(ctx context.Context) (*rest.Config, error) {
	request := &authenticationv1.TokenRequest{}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: release}}
	if err := admin.SubResource("token").Create(ctx, account, request); err != nil {
		return nil, fmt.Errorf("request a token: %w", err)
	}
	config := rest.AnonymousClientConfig(cluster.Config)
	config.BearerToken = request.Status.Token
	return config, nil
}

// requireNothingLeft fails if objects of the operator are left after the
// pages, whose last commands uninstall the operator.
func requireNothingLeft(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, name := range []string{namespace, "cpnp-probe", "shop"} {
		found := &corev1.Namespace{}
		err := admin.Get(ctx, client.ObjectKey{Name: name}, found)
		if !apierrors.IsNotFound(err) && (err != nil || found.DeletionTimestamp == nil) {
			t.Errorf("the namespace %s is still there: %v", name, err)
		}
	}
	for _, list := range []client.ObjectList{&v3.GlobalNetworkPolicyList{}, &v3.GlobalNetworkSetList{}, &v3.HostEndpointList{}} {
		if err := admin.List(ctx, list, client.HasLabels{v1alpha1.LabelPolicy}); err != nil || meta.LenList(list) > 0 {
			t.Errorf("%d objects are left in a %T: %v", meta.LenList(list), list, err)
		}
	}
}
