"""What whoever speaks to somebody outside needs of the service."""

from dataclasses import dataclass, field

from idds.ports.wakeups import Wakeups
from idds.runtime.tallies import Tallies
from idds.services.access import Access
from idds.services.catalogue import Catalogue
from idds.services.delivery import Delivery
from idds.services.events import Events
from idds.services.explanation import Explanation
from idds.services.files import Files
from idds.services.forecast import Forecast
from idds.services.hinting import Hinting
from idds.services.metering import Metering
from idds.services.redefining import Redefining
from idds.services.registration import Registration
from idds.services.series import Series
from idds.services.steering import Steering
from idds.services.study_catalogue import StudyCatalogue
from idds.services.study_series import StudyCharts
from idds.services.submission import Submission
from idds.services.tasks import Tasks
from idds.store.database import Database


@dataclass(frozen=True, slots=True)
class Doors:
    """The services behind the API, and what it needs to wait and to tell whether all is well."""

    database: Database
    wakeups: Wakeups
    access: Access
    submission: Submission
    catalogue: Catalogue
    delivery: Delivery
    registration: Registration
    redefining: Redefining
    explanation: Explanation
    events: Events
    metering: Metering
    tasks: Tasks
    series: Series
    study_charts: StudyCharts
    files: Files
    steering: Steering
    forecast: Forecast
    hinting: Hinting
    studies: StudyCatalogue
    tallies: Tallies = field(default_factory=list)
