"""The ways to sign in to Kubeflow that `sign_in` in `mnist.toml` can name. The file never holds a secret itself."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipelines.profiles import Table, Text


class NoSignIn(Table):
    """The host asks for nothing, as behind `kubectl port-forward`."""

    method: Literal["none"] = "none"


class TokenSignIn(Table):
    """A bearer token from a file or an environment variable, read again for each call.

    Attributes:
        file, variable: Exactly one of them.
    """

    method: Literal["token"]
    file: Text | None = None
    variable: Text | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.file is None) == (self.variable is None):
            raise ValueError("has a sign_in that needs file or variable, exactly one of them.")
        return self


class DexSignIn(Table):
    """A session of Dex, as Kubeflow's manifests install it: signs in on its page and keeps the cookie.

    Attributes:
        username: Often an e-mail address.
        password_file, password_variable: Exactly one of them.
    """

    method: Literal["dex"]
    username: Text
    password_file: Text | None = None
    password_variable: Text | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.password_file is None) == (self.password_variable is None):
            raise ValueError("has a sign_in that needs password_file or password_variable, exactly one of them.")
        return self


class IapSignIn(Table):
    """Google's Identity-Aware Proxy, with the Google credentials at hand.

    Attributes:
        client_id: Of the OAuth client that the proxy protects: "123-abc.apps.googleusercontent.com".
        service_account: To sign in as; needed when the credentials at hand are a person's.
    """

    method: Literal["iap"]
    client_id: Text
    service_account: Text | None = None


class ServiceAccountSignIn(Table):
    """The token that Kubernetes mounts into a pod of the same cluster, read again for each call."""

    method: Literal["service-account"]
    file: Text = "/var/run/secrets/kubeflow/pipelines/token"


SignIn = Annotated[NoSignIn | TokenSignIn | DexSignIn | IapSignIn | ServiceAccountSignIn, Field(discriminator="method")]
