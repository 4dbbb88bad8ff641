"""Template filters that show times and statuses as the lists do."""

from django import template

from operators.admin import display

register = template.Library()
register.filter("moment", display.moment)
register.filter("status_tag", display.status_tag)
