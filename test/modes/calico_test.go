// SPDX-License-Identifier: Apache-2.0

package modes

import (
	"context"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// installCalico installs a Calico, which stays until the test ends.
func installCalico(t *testing.T, mode calico.Mode) *calico.Calico {
	t.Helper()
	uninstallAfter(t)
	c, err := calico.Start(t.Context(), cluster, calico.Options{Mode: mode})
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { NewWithT(t).Expect(c.Stop()).To(Succeed()) })
	// The API server lists Calico's kinds a moment after making the kinds available.
	NewWithT(t).Eventually(func() error { return admin.List(t.Context(), &v3.TierList{}) }, deadline, tick).Should(Succeed())
	return c
}

// uninstallAfter removes Calico from the cluster when the test ends.
func uninstallAfter(t *testing.T) {
	t.Cleanup(func() { NewWithT(t).Expect(calico.Uninstall(context.Background(), cluster)).To(Succeed()) })
}

// reachCalicoAt sets the host name of Calico's API server.
func (s *story) reachCalicoAt(host string) {
	s.t.Helper()
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "calico-apiserver", Name: "calico-api"}}
	s.patchObject(service, `{"spec":{"externalName":"`+host+`"}}`)
}

const (
	nowhere = "nowhere.invalid"
	here    = "localhost"
)

func metaNamed(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }
