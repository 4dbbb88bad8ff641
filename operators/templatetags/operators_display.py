"""Template filters that show ids, times and statuses as the lists do."""

from django import template

from operators.admin import display

register = template.Library()
register.filter("moment", display.moment)
register.filter("status_tag", display.status_tag)
register.filter("short_id", display.short_id)
