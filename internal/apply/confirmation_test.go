// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"context"
	"testing"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// overtaken is an API server on which an observer writes an answer before each status.
type overtaken struct {
	client.Client
	patched int
}

func (o *overtaken) Patch(context.Context, client.Object, client.Patch, ...client.PatchOption) error {
	o.patched++
	return nil
}

func (o *overtaken) Status() client.SubResourceWriter { return overtakenStatus{} }

type overtakenStatus struct{ client.SubResourceWriter }

func (overtakenStatus) Apply(context.Context, runtime.ApplyConfiguration, ...client.SubResourceApplyOption) error {
	return apierrors.NewConflict(schema.GroupResource{}, "p.cp-1", nil)
}

// A confirmation is removed only once the status says what was confirmed.
func TestConfirmationOutlivesARefusedStatus(t *testing.T) {
	g := NewWithT(t)
	live := &v1alpha1.ControlPlaneNodeEnactment{ObjectMeta: metav1.ObjectMeta{
		Name: "p.cp-1", ResourceVersion: "7", Annotations: map[string]string{v1alpha1.AnnotationConfirm: "3"},
	}}
	desired := live.DeepCopy()
	desired.Annotations = nil
	desired.Status.FailsafesScopedTime = &metav1.Time{}
	api := &overtaken{}
	g.Expect(WriteEnactment(t.Context(), api, desired, live)).To(Satisfy(apierrors.IsConflict))
	g.Expect(api.patched).To(BeZero())
}
