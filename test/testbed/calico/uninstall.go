// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// InstallCRDs installs only CRDs: for Aggregated the CRDs in which the API server stores
// objects, for Native the CRDs of the API itself.
func InstallCRDs(ctx context.Context, cp *testbed.ControlPlane, mode Mode) error {
	assets, err := FindAssets(ctx, os.Stderr)
	if err != nil {
		return err
	}
	folder := storageCRDs
	if mode == Native {
		folder = nativeCRDs
	}
	return installCRDs(cp, assets, folder)
}

// group is the suffix of all of Calico's API groups.
const group = "projectcalico.org"

// Uninstall deletes all CRDs of Calico, with all stored objects, and returns once the API
// server serves none of these CRDs.
func Uninstall(ctx context.Context, cp *testbed.ControlPlane) error {
	scheme := runtime.NewScheme()
	if err := apiextensionsv1.AddToScheme(scheme); err != nil {
		return err
	}
	admin, err := client.New(cp.Config, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	left, err := calicoDefinitions(ctx, admin)
	if err != nil {
		return err
	}
	for i := range left {
		if err := client.IgnoreNotFound(admin.Delete(ctx, &left[i])); err != nil {
			return err
		}
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, pollInterval, startTimeout, true, func(ctx context.Context) (bool, error) {
		left := checkGone(ctx, admin)
		// At the deadline, the client's error only tells that the time is over.
		if last == nil || ctx.Err() == nil {
			last = left
		}
		return left == nil, nil
	})
	if err != nil {
		return fmt.Errorf("uninstall Calico: %w: %w", err, last)
	}
	return nil
}

func calicoDefinitions(ctx context.Context, admin client.Client) ([]apiextensionsv1.CustomResourceDefinition, error) {
	var all apiextensionsv1.CustomResourceDefinitionList
	if err := admin.List(ctx, &all); err != nil {
		return nil, err
	}
	var ours []apiextensionsv1.CustomResourceDefinition
	for _, definition := range all.Items {
		if strings.HasSuffix(definition.Spec.Group, group) {
			ours = append(ours, definition)
		}
	}
	return ours, nil
}

// nudged is an annotation without a meaning.
const nudged = "testbed.cpnp.dev/nudged"

// retryDeletion makes the API server try again to delete stored objects after a failure.
// The deletion fails where no client has listed a resource yet, because the storage of the
// resource needs a moment to start. The API server's own second try is lost if the second
// try begins with the definition from before the failure was written: the write then
// conflicts and ends the try, and the finalizer waits for any change except of the
// finalizer's own condition (crd_finalizer.go of Kubernetes 1.37). An annotation is such a
// change.
func retryDeletion(ctx context.Context, admin client.Client, definitions []apiextensionsv1.CustomResourceDefinition) error {
	var errs []error
	for i := range definitions {
		if definition := &definitions[i]; deletionFailed(definition) {
			patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, nudged, definition.ResourceVersion)
			err := admin.Patch(ctx, definition, client.RawPatch(types.MergePatchType, []byte(patch)))
			errs = append(errs, client.IgnoreNotFound(err))
		}
	}
	return errors.Join(errs...)
}

// deletionFailed tells whether the last deletion of stored objects has failed.
func deletionFailed(definition *apiextensionsv1.CustomResourceDefinition) bool {
	return slices.ContainsFunc(definition.Status.Conditions, func(c apiextensionsv1.CustomResourceDefinitionCondition) bool {
		return c.Type == apiextensionsv1.Terminating && c.Reason == "InstanceDeletionFailed"
	})
}

// checkGone returns an error while any part of Calico still exists, and makes the API
// server retry a failed deletion.
func checkGone(ctx context.Context, admin client.Client) error {
	left, err := calicoDefinitions(ctx, admin)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		still := fmt.Errorf("%s is still there: %v", left[0].Name, left[0].Status.Conditions)
		return errors.Join(still, retryDeletion(ctx, admin, left))
	}
	services := &unstructured.UnstructuredList{}
	services.SetAPIVersion("apiregistration.k8s.io/v1")
	services.SetKind("APIServiceList")
	if err := admin.List(ctx, services); err != nil {
		return err
	}
	for _, service := range services.Items {
		if strings.HasSuffix(service.GetName(), group) {
			return fmt.Errorf("%s is still registered", service.GetName())
		}
	}
	return nil
}
