// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"context"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// kind is a kind with the resource to read. Resources of projectcalico.org/v3 are read
// as typed objects, all other resources as unstructured objects.
type kind struct {
	schema.GroupVersionResource
	name string
	also string // further rights that the operator needs, besides list and watch
}

// source lists and watches kinds.
type source interface {
	// list calls do with one object after the other until the first error, reads at most
	// the given number of bytes (0 for no bound), and returns the version of the list.
	list(ctx context.Context, k kind, o metav1.ListOptions, bytes int64, do func(runtime.Object) error) (version string, err error)
	watch(ctx context.Context, k kind, o metav1.ListOptions) (watch.Interface, error)
}

// clients is the source that reads from an API server. The resources are known, so no
// discovery is needed.
type clients struct {
	calico  rest.Interface
	dynamic dynamic.Interface
	decoder runtime.Decoder // of objects of projectcalico.org/v3
}

func newClients(config *rest.Config) (*clients, error) {
	http, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := v3.AddToScheme(scheme); err != nil {
		return nil, err
	}
	serializers := boundedSerializers{serializer.NewCodecFactory(scheme).WithoutConversion()}
	config = rest.CopyConfig(config)
	config.GroupVersion = &v3.SchemeGroupVersion
	config.APIPath = "/apis"
	config.ContentType = runtime.ContentTypeJSON
	if config.UserAgent == "" {
		config.UserAgent = rest.DefaultKubernetesUserAgent()
	}
	config.NegotiatedSerializer = serializers
	calico, err := rest.RESTClientForConfigAndClient(config, http)
	if err != nil {
		return nil, err
	}
	others, err := dynamic.NewForConfigAndClient(config, http)
	if err != nil {
		return nil, err
	}
	info, _ := runtime.SerializerInfoForMediaType(serializers.SupportedMediaTypes(), runtime.ContentTypeJSON)
	decoder := serializers.DecoderToVersion(info.Serializer, v3.SchemeGroupVersion)
	return &clients{calico: calico, dynamic: others, decoder: decoder}, nil
}

func (c *clients) watch(ctx context.Context, k kind, o metav1.ListOptions) (watch.Interface, error) {
	if k.GroupVersion() != v3.SchemeGroupVersion {
		return c.dynamic.Resource(k.GroupVersionResource).Watch(ctx, o)
	}
	o.Watch = true
	return c.calico.Get().Resource(k.Resource).VersionedParams(&o, metav1.ParameterCodec).Watch(ctx)
}

// decode returns an object of a list.
func (c *clients) decode(k kind, text []byte) (runtime.Object, error) {
	if k.GroupVersion() == v3.SchemeGroupVersion {
		gvk := v3.SchemeGroupVersion.WithKind(k.name)
		object, _, err := c.decoder.Decode(text, &gvk, nil)
		return object, err
	}
	object := &unstructured.Unstructured{}
	err := json.Unmarshal(text, &object.Object)
	return object, err
}
