//! Images in the node's image store.

use std::path::PathBuf;

use futures_util::{FutureExt, future::BoxFuture};

use crate::{
    base::log,
    image::{self, Credential, Image, ImageStore, Kind, garbage::Thresholds},
    kubelet::host::{Error, Images, Result},
};

/// The image store of this node.
pub struct Store(ImageStore);

impl Store {
    /// Over an opened store.
    pub fn new(store: ImageStore) -> Self {
        Self(store)
    }
}

impl Images for Store {
    fn find<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Option<Image>>> {
        async move {
            // What is no name may still be an image's ID.
            let found = self.0.get(reference);
            if found.is_none()
                && let Err(error) = image::reference::Reference::parse(reference)
            {
                return Err(Error::InvalidImageName { reference: reference.to_owned(), message: log::chain(&error) });
            }
            Ok(found)
        }
        .boxed()
    }

    fn pull<'a>(&'a self, reference: &'a str, credentials: Vec<Credential>) -> BoxFuture<'a, Result<Image>> {
        async move { self.0.pull(reference, &credentials).await.map_err(|error| failed(reference, &error)) }.boxed()
    }

    fn mount<'a>(&'a self, image: &'a str, container: &'a str) -> BoxFuture<'a, Result<PathBuf>> {
        async move {
            let found = self.0.get(image).ok_or_else(|| Error::NotFound { id: image.to_owned() })?;
            let rootfs = self.0.prepare(&found, container).await.map_err(|error| failed(image, &error))?;
            Ok(rootfs.path)
        }
        .boxed()
    }

    fn unmount<'a>(&'a self, container: &'a str) -> BoxFuture<'a, Result<()>> {
        async move { self.0.release(container).await.map_err(|error| failed(container, &error)) }.boxed()
    }

    fn mounted(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        async move { self.0.recover().await.map_err(|error| failed("", &error)) }.boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Image>>> {
        async move { Ok(self.0.list()) }.boxed()
    }

    fn collect(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        async move {
            let removed = self.0.collect_garbage(Thresholds::default()).await;
            let removed = removed.map_err(|error| Error::Failed(log::chain(&error)))?;
            Ok(removed.into_iter().map(|image| image.id).collect())
        }
        .boxed()
    }
}

fn failed(name: &str, error: &image::Error) -> Error {
    match error.kind() {
        Kind::InvalidName => Error::InvalidImageName { reference: name.to_owned(), message: log::chain(error) },
        _ => Error::Failed(log::chain(error)),
    }
}
