// SPDX-License-Identifier: Apache-2.0

package calicowatch

import (
	"context"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// kind is a kind with the resource to read. Resources of projectcalico.org/v3 are read
// with the typed client, all other resources as unstructured objects.
type kind struct {
	schema.GroupVersionResource
	name string
	also string // further rights that the operator needs, besides list and watch
}

// source lists and watches kinds.
type source interface {
	listWatch(k kind) *cache.ListWatch
}

// clients is the source that reads from an API server. The resources are known, so that
// no discovery is needed.
type clients struct {
	calico  rest.Interface
	dynamic dynamic.Interface
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
	config = rest.CopyConfig(config)
	config.GroupVersion = &v3.SchemeGroupVersion
	config.APIPath = "/apis"
	config.ContentType = runtime.ContentTypeJSON
	if config.UserAgent == "" {
		config.UserAgent = rest.DefaultKubernetesUserAgent()
	}
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	calico, err := rest.RESTClientForConfigAndClient(config, http)
	if err != nil {
		return nil, err
	}
	others, err := dynamic.NewForConfigAndClient(config, http)
	if err != nil {
		return nil, err
	}
	return &clients{calico: calico, dynamic: others}, nil
}

func (c *clients) listWatch(k kind) *cache.ListWatch {
	if k.GroupVersion() == v3.SchemeGroupVersion {
		return cache.NewListWatchFromClient(c.calico, k.Resource, metav1.NamespaceAll, fields.Everything())
	}
	resource := c.dynamic.Resource(k.GroupVersionResource)
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return resource.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return resource.Watch(ctx, o)
		},
	}
}
