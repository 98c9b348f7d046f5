"""The public names of the package, available as `steadystep.NAME`. Each name is listed once, here or in its table."""

from steadystep.applied_steps import skip_aware as skip_aware
from steadystep.clip_in_place import clip_gradients as clip_gradients
from steadystep.clipping import *  # noqa: F403
from steadystep.decay import decay_groups as decay_groups
from steadystep.diagnosis.advise_clip import Advice as Advice
from steadystep.diagnosis.advise_clip import advise_clip as advise_clip
from steadystep.diagnosis.diagnose import diagnose as diagnose
from steadystep.diagnosis.errors import RunError as RunError
from steadystep.diagnosis.result import Diagnosis as Diagnosis
from steadystep.guarded_optimizer import guard as guard
from steadystep.optimizers import *  # noqa: F403
from steadystep.profile import NormProfile as NormProfile
from steadystep.profile import norm_profile as norm_profile
from steadystep.recorder.blackbox import blackbox as blackbox
from steadystep.recorder.box import BlackBox as BlackBox
from steadystep.step.errors import NonFiniteGradientError as NonFiniteGradientError
from steadystep.step.errors import NonFiniteLossError as NonFiniteLossError
from steadystep.step.errors import NonFiniteUpdateError as NonFiniteUpdateError
from steadystep.step.errors import TooManySkipsError as TooManySkipsError
